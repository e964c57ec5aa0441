"""The faults of servers: ended, frozen, killed, locked, timed out, read-only, full, without connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.testing.faults import Flow
from tests.cluster.nodes import Node, eventually
from tests.faults.expected import Kind
from tests.faults.fault import HURRY, Fault, Injected
from tests.faults.world import BACKENDS, PATIENCE, World
from tests.postgres.blocking import blocking
from tests.postgres.databases import connected, dsn_of
from tests.processes import kill

WAITING = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'"
COMMITTED = re.compile(rb"(C\0\0\0.[A-Z]+[ 0-9]*\0|s\0\0\0\x04)Z\0\0\0\x05I", re.DOTALL)
TABLES = """
SELECT string_agg(oid::regclass::text, ', ') FROM pg_class
WHERE relnamespace = 'convostore'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
"""


@asynccontextmanager
async def terminated(world: World) -> AsyncIterator[None]:
    await world.admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", world.user)
    yield


@contextmanager
def stopped(pids: Iterable[int]) -> Iterator[None]:
    """SIGSTOP, and SIGCONT after the block."""
    pids = list(pids)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def frozen_postgres(world: World) -> AsyncIterator[None]:
    backends = [pid for (pid,) in await world.admin.fetch(BACKENDS, world.user)]
    with stopped([world.pid("postgres"), *backends]):
        yield


@asynccontextmanager
async def frozen_to_newcomers(world: World) -> AsyncIterator[None]:
    await world.disconnect("postgres")
    with stopped([world.pid("postgres")]):
        yield


@asynccontextmanager
async def frozen_valkey(world: World) -> AsyncIterator[None]:
    with stopped([world.pid("redis")]):
        yield


@asynccontextmanager
async def locked(world: World) -> AsyncIterator[None]:
    tables = await world.admin.fetchval(TABLES)
    async with blocking(world.dsn, f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"):
        yield


@asynccontextmanager
async def terminated_at_work(world: World) -> AsyncIterator[None]:
    async def terminate() -> None:
        while True:
            await world.admin.execute(WAITING, world.user)

    async with locked(world):
        terminating = asyncio.create_task(terminate())
        world.own_tasks.add(terminating)
        yield
        terminating.cancel()
        await asyncio.wait([terminating])


def with_setting(name: str, value: str) -> Injected:
    """Return a fault of the server's settings, for new connections."""

    @asynccontextmanager
    async def injected(world: World) -> AsyncIterator[None]:
        await world.admin.execute(f"ALTER ROLE {world.user} SET {name} = '{value}'")
        await world.disconnect("postgres")
        yield
        await world.admin.execute(f"ALTER ROLE {world.user} RESET {name}")
        # The fault has ended: the next call gets a new connection, rather than meet the end of the old one.
        for pool in world.pools:
            await pool.expire_connections()

    return injected


def locked_and(name: str) -> Injected:
    """Return the fault that tables are locked for longer than a timeout of the server."""

    @asynccontextmanager
    async def injected(world: World) -> AsyncIterator[None]:
        async with with_setting(name, "50ms")(world), locked(world):
            yield

    return injected


@asynccontextmanager
async def without_connections_of_the_role(world: World) -> AsyncIterator[None]:
    await world.admin.execute(f"ALTER ROLE {world.user} CONNECTION LIMIT 0")
    await world.disconnect("postgres")
    yield
    await world.admin.execute(f"ALTER ROLE {world.user} CONNECTION LIMIT -1")


@asynccontextmanager
async def without_connections(world: World) -> AsyncIterator[None]:
    await world.disconnect("postgres")
    async with AsyncExitStack() as stack:
        with contextlib.suppress(asyncpg.TooManyConnectionsError):
            while True:
                await stack.enter_async_context(connected(dsn_of(world.dsn, user=world.user)))
        yield
    while await world.admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", world.user):
        pass


def configured(name: str, value: int) -> Injected:
    """Return a fault of Valkey's configuration."""

    @asynccontextmanager
    async def injected(world: World) -> AsyncIterator[None]:
        before = [str((await each.config_get(name))[name]) for each in world.observers]
        for each in world.observers:
            await each.config_set(name, value)
        if name == "maxclients":
            await world.disconnect("redis")
        yield
        for each, known in zip(world.observers, before, strict=True):
            await each.config_set(name, known)

    return injected


@dataclass
class Killing(Flow):
    """Kills a server when something arrives, which is lost; passes everything on afterwards.

    Attributes:
        kill: does it; None when it is done.
    """

    kill: Callable[[], None] | None = None

    async def forward(self, data: bytes, writer: asyncio.StreamWriter) -> bool:
        if self.kill is None:
            return await super().forward(data, writer)
        self.kill()
        self.kill = None
        return False


@contextmanager
def killing(proxy: Any, kill: Callable[[], None], *, answering: bool) -> Iterator[Killing]:
    """Kill a server when a request is on its way to it, or when its answer is, for the duration of a block."""
    flow = Killing(kill=kill)
    if answering:
        proxy.to_client = flow
    else:
        proxy.to_server = flow
    yield flow
    proxy.heal()


def killed_postgres(*, answering: bool) -> Injected:
    """Return the fault that the backend of a call is killed: the server ends all others and recovers from its log."""

    @asynccontextmanager
    async def injected(world: World) -> AsyncIterator[None]:
        for pool in world.pools:
            await pool.fetchval("SELECT 1")
        backends = [pid for (pid,) in await world.admin.fetch(BACKENDS, world.user)]
        ending = await world.admin.fetchval("SELECT pg_backend_pid()")
        with killing(world.postgres, lambda: kill(*backends), answering=answering) as flow:
            yield
        if flow.kill is None:
            await eventually(lambda: recovered(world, ending), "PostgreSQL has recovered", PATIENCE)
            await world.disconnect("postgres")

    return injected


async def recovered(world: World, ending: int) -> bool:
    """Return whether PostgreSQL answers by another backend than one that has to end."""
    try:
        return bool(await world.admin.fetchval("SELECT pg_backend_pid()") != ending)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False


def killed_valkey(*, answering: bool) -> Injected:
    """Return the fault that Valkey is killed, and started again with its log after the call."""

    @asynccontextmanager
    async def injected(world: World) -> AsyncIterator[None]:
        node = world.valkey
        assert isinstance(node, Node)
        with killing(world.redis, node.kill, answering=answering):
            yield
        if node.process is None:
            node.start()
            await eventually(node.answers, "it is up again")
            await world.disconnect("redis")

    return injected


@dataclass
class Unheard(Flow):
    """Resets a connection when a statement was committed, instead of telling so; what prepares it passes.

    Relies on: CommandComplete, or PortalSuspended after as many rows as were asked for, is followed by ReadyForQuery,
    which says `I` outside of a transaction.
    """

    async def forward(self, data: bytes, writer: asyncio.StreamWriter) -> bool:
        if (self.times is not None and self.cuts >= self.times) or not COMMITTED.search(data):
            return await super().forward(data, writer)
        self.cuts += 1
        return False


def unheard(times: int | None) -> Injected:
    """Return the fault that the answer to what was committed is lost."""

    @asynccontextmanager
    async def injected(world: World) -> AsyncIterator[None]:
        world.postgres.to_client = Unheard(times=times)
        yield
        world.postgres.heal()

    return injected


POSTGRES = [
    # A longer deadline than the default is told to the server first, and that answer would be lost instead.
    Fault("answer lost", "postgres", unheard(None), Kind.UNHEARD, DEFAULT_TIMEOUT),
    Fault("answer lost, once", "postgres", unheard(1), Kind.CUT_ONCE, DEFAULT_TIMEOUT),
    Fault("backends terminated", "postgres", terminated, Kind.CUT_ONCE),
    Fault("backends terminated at work", "postgres", terminated_at_work, Kind.LOST_AT_WORK, of_tables=True),
    Fault("frozen", "postgres", frozen_postgres, Kind.UNANSWERED, HURRY),
    Fault("frozen before it is connected", "postgres", frozen_to_newcomers, Kind.UNDELIVERED, HURRY),
    Fault("tables locked", "postgres", locked, Kind.UNANSWERED, HURRY, of_tables=True),
    *(
        Fault(name, "postgres", locked_and(name), Kind.ENDED, since=since, of_tables=True)
        for name, since in (("transaction_timeout", 17), ("statement_timeout", 16), ("lock_timeout", 16))
    ),
    Fault("read-only", "postgres", with_setting("default_transaction_read_only", "on"), Kind.REFUSED),
    Fault("no connections left to the role", "postgres", without_connections_of_the_role, Kind.UNREACHABLE),
]
VALKEY = [
    Fault("frozen", "redis", frozen_valkey, Kind.UNANSWERED, HURRY),
    Fault("full", "redis", configured("maxmemory", 1), Kind.REFUSED),
    Fault("read-only", "redis", configured("min-replicas-to-write", 9), Kind.REFUSED),
    Fault("no connections left", "redis", configured("maxclients", 1), Kind.UNDELIVERED),
]
DEADLY = [
    Fault("killed before delivery", "postgres", killed_postgres(answering=False), Kind.KILLED_BEFORE),
    Fault("killed after delivery", "postgres", killed_postgres(answering=True), Kind.KILLED_AFTER),
    Fault("max_connections", "postgres", without_connections, Kind.UNREACHABLE),
    Fault("killed before delivery", "redis", killed_valkey(answering=False), Kind.KILLED_BEFORE),
    Fault("killed after delivery", "redis", killed_valkey(answering=True), Kind.KILLED_AFTER),
]
"""Those that need servers of their own."""
