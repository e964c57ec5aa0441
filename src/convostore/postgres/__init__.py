"""PostgreSQL with pgvector: configuration, memory, audit trail, profiles and sessions."""

from convostore.postgres.audit import PostgresAuditStore
from convostore.postgres.config import PostgresConfigStore
from convostore.postgres.memory import PostgresMemoryStore
from convostore.postgres.migrations import migrate, schema_version
from convostore.postgres.pool import create_pool
from convostore.postgres.profile import PostgresProfileStore
from convostore.postgres.session import PostgresSessionStore
from convostore.postgres.turn import PostgresTurnStore

__all__ = [
    "PostgresAuditStore",
    "PostgresConfigStore",
    "PostgresMemoryStore",
    "PostgresProfileStore",
    "PostgresSessionStore",
    "PostgresTurnStore",
    "create_pool",
    "migrate",
    "schema_version",
]
