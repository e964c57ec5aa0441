"""The faults of the network: what passes between a client and a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from convostore.testing.faults import Flow
from tests.faults.expected import Kind
from tests.faults.fault import HURRY, Fault
from tests.faults.world import PATIENCE, Side, World


def flowing(
    side: Side, kind: Kind, name: str, flows: Callable[[], tuple[Flow, Flow]], seconds: float = PATIENCE
) -> Fault:
    """Return a fault of what passes to the server, and to the client."""

    @asynccontextmanager
    async def injected(world: World) -> AsyncIterator[None]:
        proxy = world.proxy(side)
        proxy.to_server, proxy.to_client = flows()
        yield
        proxy.heal()

    return Fault(name, side, injected, kind, seconds)


def refusing(side: Side) -> Fault:
    """Return the fault that nothing listens."""

    @asynccontextmanager
    async def injected(world: World) -> AsyncIterator[None]:
        await world.disconnect(side)
        await world.proxy(side).refuse()
        yield
        await world.proxy(side).listen()

    return Fault("refused", side, injected, Kind.UNREACHABLE)


def leading_nowhere(side: Side) -> Fault:
    """Return the fault that connections are reset at once."""

    @asynccontextmanager
    async def injected(world: World) -> AsyncIterator[None]:
        await world.disconnect(side)
        target = world.proxy(side).target
        world.proxy(side).lead_to(None)
        yield
        world.proxy(side).lead_to(target)

    return Fault("reset at once", side, injected, Kind.UNDELIVERED)


def network(side: Side) -> list[Fault]:
    """Return what can happen between a client and a server."""

    def flow(kind: Kind, name: str, *flows: dict[str, object], seconds: float = PATIENCE) -> Fault:
        to_server, to_client = flows
        return flowing(side, kind, name, lambda: (Flow(**to_server), Flow(**to_client)), seconds)  # type: ignore[arg-type]

    whole: dict[str, object] = {}
    return [
        refusing(side),
        leading_nowhere(side),
        flow(Kind.UNDELIVERED, "reset before delivery", {"cut_after": 0}, whole),
        flow(Kind.CUT_ONCE, "reset before delivery, once", {"cut_after": 0, "times": 1}, whole),
        flow(Kind.UNDELIVERED, "reset in the middle of delivery", {"cut_after": 10}, whole),
        flow(Kind.UNANSWERED, "reset in the middle of the answer", whole, {"cut_after": 2}),
        flow(Kind.CUT_ONCE, "reset in the middle of the answer, once", whole, {"cut_after": 2, "times": 1}),
        flow(Kind.UNANSWERED, "reset after delivery", whole, {"cut_after": 0}),
        flow(Kind.CUT_ONCE, "reset after delivery, once", whole, {"cut_after": 0, "times": 1}),
        flow(Kind.UNDELIVERED, "silence", {"silent": True}, {"silent": True}, seconds=HURRY),
        flow(Kind.UNDELIVERED, "silence to the server", {"silent": True}, whole, seconds=HURRY),
        flow(Kind.UNANSWERED, "silence to the client", whole, {"silent": True}, seconds=HURRY),
        flow(Kind.SLOW, "one byte at a time", {"piece": 1}, {"piece": 1}),
        flow(Kind.SLOW, "latency", {"latency": 0.003}, {"latency": 0.003}),
    ]
