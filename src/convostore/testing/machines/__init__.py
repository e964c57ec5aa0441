"""State machines: any sequence of operations has the same answers on a backend as in the in-memory reference."""

from convostore.testing.machines.base import Machine, check
from convostore.testing.machines.config import ConfigMachine
from convostore.testing.machines.memory import MemoryMachine
from convostore.testing.machines.profile import ProfileMachine

__all__ = ["ConfigMachine", "Machine", "MemoryMachine", "ProfileMachine", "check"]
