"""The audit store in memory."""

from convostore.core.stores.audit import TableAuditStore
from convostore.inmemory.base import InMemoryStore


class InMemoryAuditStore(InMemoryStore, TableAuditStore):
    """Turns and events in memory."""
