"""State machines: any sequence of operations has the same answers on a backend as in the in-memory reference."""

from convostore.testing.machines.audit import AuditMachine
from convostore.testing.machines.base import Machine, check
from convostore.testing.machines.config import ConfigMachine
from convostore.testing.machines.memory import MemoryMachine
from convostore.testing.machines.profile import ProfileMachine
from convostore.testing.machines.session import SessionMachine

__all__ = ["AuditMachine", "ConfigMachine", "Machine", "MemoryMachine", "ProfileMachine", "SessionMachine", "check"]
