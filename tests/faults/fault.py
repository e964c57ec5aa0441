"""A fault: what is done to the network or to a server while a call runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeAlias

from tests.faults.expected import Kind
from tests.faults.world import PATIENCE, Side, World

Injected: TypeAlias = Callable[[World], AbstractAsyncContextManager[None]]

HURRY = 0.4
"""The deadline, in seconds, of calls that wait for what does not come."""


@dataclass(frozen=True)
class Fault:
    """A fault of one server or of the way to it.

    Attributes:
        name: what happens.
        side: to which server.
        injected: injects it for the duration of a block.
        kind: what it does to a call.
        seconds: the deadline of a call that meets it.
        since: the first major version of PostgreSQL that has it.
        of_tables: whether a call that reads and writes no table does not meet it.
    """

    name: str
    side: Side
    injected: Injected
    kind: Kind
    seconds: float = PATIENCE
    since: int = 16
    of_tables: bool = False
