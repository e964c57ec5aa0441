"""The audit store on PostgreSQL, whose tables refuse every change to every role."""

from convostore.core.stores.audit import TableAuditStore
from convostore.postgres.store import PostgresStore


class PostgresAuditStore(PostgresStore, TableAuditStore):
    """Turns and events on PostgreSQL."""
