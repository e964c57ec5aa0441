"""The faults: what is done to the network or to a server, and what a call may make of it."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from convostore.testing.faults import Flow, Proxy
from tests.faults.world import BACKENDS, PATIENCE, USER, World
from tests.postgres.blocking import blocking

Side: TypeAlias = Literal["postgres", "redis"]

HURRY = 0.4
"""The deadline, in seconds, of calls that wait for what does not come."""


@dataclass(frozen=True)
class Fault:
    """A fault of one server or of the way to it.

    Attributes:
        name: what happens.
        side: to which server.
        injected: injects it for the duration of a block.
        seconds: the deadline of a call that meets it.
        succeeds: whether every call succeeds in spite of it.
    """

    name: str
    side: Side
    injected: Callable[[World], AbstractAsyncContextManager[None]]
    seconds: float = PATIENCE
    succeeds: bool = False


def proxy_of(world: World, side: Side) -> Proxy:
    """Return the proxy to a server."""
    return world.postgres if side == "postgres" else world.redis


def flowing(side: Side, name: str, flows: Callable[[], tuple[Flow, Flow]], **given: Any) -> Fault:
    """Return a fault of the network: what passes to the server, and to the client."""

    @asynccontextmanager
    async def injected(world: World) -> AsyncIterator[None]:
        proxy = proxy_of(world, side)
        proxy.to_server, proxy.to_client = flows()
        yield
        proxy.heal()

    return Fault(name, side, injected, **given)


def refusing(side: Side) -> Fault:
    """Return the fault that nothing listens."""

    @asynccontextmanager
    async def injected(world: World) -> AsyncIterator[None]:
        await proxy_of(world, side).refuse()
        yield
        await proxy_of(world, side).listen()

    return Fault("refused", side, injected)


def leading_nowhere(side: Side) -> Fault:
    """Return the fault that connections are reset at once."""

    @asynccontextmanager
    async def injected(world: World) -> AsyncIterator[None]:
        proxy = proxy_of(world, side)
        target = proxy.target
        proxy.lead_to(None)
        yield
        proxy.lead_to(target)

    return Fault("reset at once", side, injected)


def network(side: Side) -> list[Fault]:
    """Return what can happen between a client and a server."""
    return [
        refusing(side),
        leading_nowhere(side),
        flowing(side, "reset before delivery", lambda: (Flow(cut_after=0), Flow())),
        flowing(side, "reset before delivery, once", lambda: (Flow(cut_after=0, times=1), Flow())),
        flowing(side, "reset in the middle of delivery", lambda: (Flow(cut_after=20), Flow())),
        flowing(side, "reset in the middle of the answer", lambda: (Flow(), Flow(cut_after=20))),
        flowing(side, "reset in the middle of the answer, once", lambda: (Flow(), Flow(cut_after=20, times=1))),
        flowing(side, "reset after delivery", lambda: (Flow(), Flow(cut_after=0))),
        flowing(side, "reset after delivery, once", lambda: (Flow(), Flow(cut_after=0, times=1))),
        flowing(side, "silence", lambda: (Flow(silent=True), Flow(silent=True)), seconds=HURRY),
        flowing(side, "silence to the server", lambda: (Flow(silent=True), Flow()), seconds=HURRY),
        flowing(side, "silence to the client", lambda: (Flow(), Flow(silent=True)), seconds=HURRY),
        flowing(side, "one byte at a time", lambda: (Flow(piece=1), Flow(piece=1)), succeeds=True),
        flowing(side, "latency", lambda: (Flow(latency=0.003), Flow(latency=0.003)), succeeds=True),
    ]


@asynccontextmanager
async def terminated(world: World) -> AsyncIterator[None]:
    await world.admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", USER)
    yield


@asynccontextmanager
async def frozen_backends(world: World) -> AsyncIterator[None]:
    pids = [pid for (pid,) in await world.admin.fetch(BACKENDS, USER)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def locked(world: World) -> AsyncIterator[None]:
    tables = await world.admin.fetchval(
        "SELECT string_agg(oid::regclass::text, ', ') FROM pg_class"
        " WHERE relnamespace = 'convostore'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
    )
    database = await world.admin.fetchval("SELECT current_database()")
    dsn = world.engines.postgres_dsn.replace("/convostore?", f"/{database}?")
    async with blocking(dsn, f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"):
        yield


def with_setting(name: str, value: str) -> Callable[[World], AbstractAsyncContextManager[None]]:
    """Return a fault of the server's settings, for new connections."""

    @asynccontextmanager
    async def injected(world: World) -> AsyncIterator[None]:
        await world.admin.execute(f"ALTER ROLE {USER} SET {name} = '{value}'")
        world.postgres.reset()
        yield
        await world.admin.execute(f"ALTER ROLE {USER} RESET {name}")
        # The fault has ended: the next call gets a new connection, rather than meet the end of the old one.
        for pool in world.pools:
            await pool.expire_connections()

    return injected


@asynccontextmanager
async def locked_and_timed_out(world: World) -> AsyncIterator[None]:
    async with with_setting("transaction_timeout", "50ms")(world), locked(world):
        yield


@asynccontextmanager
async def without_connections(world: World) -> AsyncIterator[None]:
    await world.admin.execute(f"ALTER ROLE {USER} CONNECTION LIMIT 0")
    world.postgres.reset()
    yield
    await world.admin.execute(f"ALTER ROLE {USER} CONNECTION LIMIT -1")


@asynccontextmanager
async def frozen_valkey(world: World) -> AsyncIterator[None]:
    assert world.engines.valkey_pid is not None
    os.kill(world.engines.valkey_pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(world.engines.valkey_pid, signal.SIGCONT)


def configured(name: str, value: int) -> Callable[[World], AbstractAsyncContextManager[None]]:
    """Return a fault of Valkey's configuration."""

    @asynccontextmanager
    async def injected(world: World) -> AsyncIterator[None]:
        before = str((await world.observer.config_get(name))[name])
        await world.observer.config_set(name, value)
        if name == "maxclients":
            world.redis.reset()
        yield
        await world.observer.config_set(name, before)

    return injected


FAULTS = [
    *network("postgres"),
    Fault("backends terminated", "postgres", terminated),
    Fault("backends frozen", "postgres", frozen_backends, seconds=HURRY),
    Fault("tables locked", "postgres", locked, seconds=HURRY),
    Fault("tables locked, transactions timed out", "postgres", locked_and_timed_out, seconds=3.0),
    Fault("read-only", "postgres", with_setting("default_transaction_read_only", "on")),
    Fault("no connections left", "postgres", without_connections),
    *network("redis"),
    Fault("frozen", "redis", frozen_valkey, seconds=HURRY),
    Fault("full", "redis", configured("maxmemory", 1)),
    Fault("read-only", "redis", configured("min-replicas-to-write", 1)),
    Fault("no connections left", "redis", configured("maxclients", 1)),
]


@asynccontextmanager
async def nothing(_: World) -> AsyncIterator[None]:
    yield


NO_FAULT = Fault("none", "postgres", nothing)
