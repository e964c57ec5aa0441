"""The reference: what a store does, in plain Python. Nothing is kept when the process ends."""

from convostore.inmemory.audit import InMemoryAuditStore
from convostore.inmemory.config import InMemoryConfigStore
from convostore.inmemory.memory import InMemoryMemoryStore
from convostore.inmemory.profile import InMemoryProfileStore
from convostore.inmemory.session import InMemorySessionStore
from convostore.inmemory.turn import InMemoryTurnStore

__all__ = [
    "InMemoryAuditStore",
    "InMemoryConfigStore",
    "InMemoryMemoryStore",
    "InMemoryProfileStore",
    "InMemorySessionStore",
    "InMemoryTurnStore",
]
