"""The contract: five abstract stores. What a method does is said here once; every backend does it alike."""

from convostore.contracts.audit import AuditStore
from convostore.contracts.config import ConfigStore
from convostore.contracts.memory import MemoryStore
from convostore.contracts.profile import ProfileStore
from convostore.contracts.session import SessionStore

__all__ = ["AuditStore", "ConfigStore", "MemoryStore", "ProfileStore", "SessionStore"]
