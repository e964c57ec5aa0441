"""`python -m bench.call_path`: the functions of convostore between a public call and a driver's socket, and back.

For each of four calls on warm connections: the functions in the order in which they are first entered, by the write to
a socket that follows. Those marked with `>` are on the stack during that write; the others have returned before.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any
from uuid import UUID, uuid4

from convostore import Stores, open_stores
from convostore.errors import StoreError
from convostore.testing.factories import make_entity, make_episode, make_relationship, make_rule, make_session

_PACKAGE = "convostore."
_TRANSPORTS = "asyncio.selector_events"
_WRITES = {"write", "writelines"}
"""Methods of asyncio's transports through which both drivers send."""

_WARM_UP = 3
"""Calls before the one that is followed: they connect and prepare the statements of a first and of later saves."""


@dataclass
class Leg:
    """The way to one write to a socket, or back from the last.

    Attributes:
        entered: functions in the order in which they are first entered.
        stack: those that wait for the write, outermost first.
    """

    entered: list[str] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)


class Profiler:
    """Notes which functions of convostore are entered, between writes to sockets."""

    def __init__(self) -> None:
        self.legs = [Leg()]
        self._seen: set[str] = set()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call":
            return
        if _module(frame) == _TRANSPORTS and frame.f_code.co_name in _WRITES:
            if _module(frame.f_back) == _TRANSPORTS:
                return  # `writelines` calls `write`.
            self.legs[-1].stack = _stack(frame)
            self.legs.append(Leg())
        elif (name := _name(frame)) and name not in self._seen:
            self._seen.add(name)
            self.legs[-1].entered.append(name)


def _module(frame: FrameType | None) -> str:
    return str(frame.f_globals.get("__name__", "")) if frame else ""


def _name(frame: FrameType) -> str | None:
    """Return module and function if they are convostore's; None for others and for comprehensions."""
    module, code = _module(frame), frame.f_code
    if not module.startswith(_PACKAGE) or code.co_name.startswith("<"):
        return None
    return f"{module.removeprefix(_PACKAGE)}:{code.co_qualname.replace('.<locals>', '')}"


def _stack(frame: FrameType | None) -> list[str]:
    """Return the functions from the outermost to a frame."""
    names: list[str | None] = []
    while frame is not None:
        names.insert(0, _name(frame))
        frame = frame.f_back
    return [name for name in names if name is not None]


async def path_of(call: Callable[[], Awaitable[Any]]) -> list[Leg]:
    """Return the way of a call, warmed up."""
    profiler = Profiler()
    for profile in (*[None] * _WARM_UP, profiler):
        sys.setprofile(profile)
        try:
            with suppress(StoreError):
                await call()
        finally:
            sys.setprofile(None)
    return profiler.legs


def calls(stores: Stores, tenant: UUID) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return the calls that are followed."""
    agent = uuid4()
    session, rule = make_session(tenant), make_rule(tenant, agent, embedding=[1.0, 2.0, 3.0])
    nowhere = make_relationship(make_entity(tenant, agent), make_entity(tenant, agent))
    return {
        "a save of a session": lambda: stores.sessions.save(session),
        "a save of a rule": lambda: stores.config.save_rule(rule),
        "a vector search": lambda: stores.memory.vector_search_episodes([1.0, 2.0, 3.0], tenant, agent),
        "a driver's error": lambda: stores.memory.add_relationship(nowhere),
    }


async def main() -> None:
    async with open_stores(ephemeral=True, sweep_every=0) as stores:
        tenant = uuid4()
        await stores.memory.add_episode(make_episode(tenant, uuid4(), embedding=[1.0, 2.0, 3.0]))
        for title, call in calls(stores, tenant).items():
            *there, back = await path_of(call)
            print(f"\n{title}")
            for number, leg in enumerate(there, 1):
                print(f"  to write {number}: {len(leg.entered)} functions, {len(leg.stack)} on the stack")
                print(*(f"    {'>' if name in leg.stack else ' '} {name}" for name in leg.entered), sep="\n")
            print(f"  back: {len(back.entered)} functions")
            print(*(f"      {name}" for name in back.entered), sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
