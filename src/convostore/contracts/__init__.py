"""The contract: five abstract stores, and turns across them. What a method does is said here once."""

from convostore.contracts.audit import AuditStore
from convostore.contracts.config import ConfigStore
from convostore.contracts.memory import MemoryStore
from convostore.contracts.profile import ProfileStore
from convostore.contracts.session import SessionStore
from convostore.contracts.turn import TurnStore
from convostore.contracts.unit_of_work import UnitOfWork

__all__ = ["AuditStore", "ConfigStore", "MemoryStore", "ProfileStore", "SessionStore", "TurnStore", "UnitOfWork"]
