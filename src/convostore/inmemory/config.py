"""The configuration store in memory."""

from __future__ import annotations

from convostore.gateway.config import RowConfigStore
from convostore.inmemory.base import InMemoryStore


class InMemoryConfigStore(InMemoryStore, RowConfigStore):
    """Agents and what belongs to them in memory."""
