"""The tiered store while its hot tier is down, slow, read-only, full, damaged, restarted or replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from convostore.embedded import Embedded
from convostore.errors import ConflictError, ConnectionError
from convostore.models import Session
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import create_client, keys
from convostore.testing.factories import full_session, make_session
from convostore.tiered import TieredSessionStore
from convostore.tiered.copies import HotCopies
from tests.cluster.nodes import Node, eventually, free_ports
from tests.sessions.proxying import Proxy, proxy_to

LEASE = timedelta(seconds=2)


class Clock:
    """A monotonic clock that tests advance."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Record(PostgresSessionStore):
    """PostgreSQL, with its loads counted, and hooks right before and after a write."""

    loads = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before: Callable[[], Awaitable[object]] = nothing
        self.after: Callable[[], Awaitable[object]] = nothing

    async def load(self, session_id: UUID, tenant_id: UUID | None = None) -> tuple[Session, int] | None:
        self.loads += 1
        return await super().load(session_id, tenant_id)

    async def write(self, session: Session, *, overwrite: bool, fence: int | None, invalidate_copies: bool) -> None:
        await self.before()
        try:
            await super().write(session, overwrite=overwrite, fence=fence, invalidate_copies=invalidate_copies)
        finally:
            await self.after()


async def nothing() -> None:
    """Nothing happens."""


@dataclass
class Process:
    """What one process has: a store, its system of record, its clock and its proxy to the hot tier."""

    store: TieredSessionStore
    record: Record
    clock: Clock
    proxy: Proxy

    @property
    def skipped(self) -> int:
        """How many calls of the hot tier were not tried."""
        return self.store._hot.breaker.skipped


Start: TypeAlias = Callable[..., Awaitable[Process]]


@pytest.fixture
async def nodes(area: Path) -> AsyncIterator[list[Node]]:
    """Two Valkey servers of the test's own, with an append-only file; the second is not started."""
    nodes = [
        Node(area / str(port), ("--appendonly", "yes", "--repl-diskless-sync-delay", "0"), port)
        for port in free_ports(2)
    ]
    try:
        nodes[0].start()
        await eventually(nodes[0].answers, "the server answers")
        yield nodes
    finally:
        for node in nodes:
            node.kill()


@pytest.fixture
def hot(nodes: list[Node]) -> Node:
    """The hot tier."""
    return nodes[0]


@pytest.fixture
async def start(engines: Embedded, hot: Node) -> AsyncIterator[Start]:
    """Starts processes that share nothing but the servers, each with its own proxy to the hot tier."""
    async with AsyncExitStack() as stack:

        async def started(**given: Any) -> Process:
            proxy = await stack.enter_async_context(proxy_to(hot.port))
            pool = await stack.enter_async_context(await create_pool(engines.postgres_dsn))
            client = await stack.enter_async_context(create_client(f"redis://127.0.0.1:{proxy.port}"))
            clock, record = Clock(), Record(pool, timeout=100.0)
            options: dict[str, Any] = {"hot_lease": LEASE, "hot_timeout": 10.0, "timeout": 100.0, "monotonic": clock}
            options |= given
            return Process(TieredSessionStore(client, record, **options), record, clock, proxy)

        yield started


@pytest.fixture
async def process(start: Start) -> Process:
    """One process."""
    return await start()


@pytest.fixture
async def slow_reader(hot: Node) -> AsyncIterator[HotCopies]:
    """The hot tier of a process that takes long between reading the system of record and publishing."""
    async with create_client(f"redis://127.0.0.1:{hot.port}") as client:
        yield HotCopies(client, ttl=timedelta(hours=1), guard_ttl=timedelta(minutes=1), timeout=5.0)


def key_of(session_id: UUID) -> str:
    return f"{keys.bucket(session_id)}copy:{session_id}"


async def value_of(node: Node, session_id: UUID) -> bytes | None:
    """Return the value of a session's key in the hot tier."""
    async with Redis(host="127.0.0.1", port=node.port) as client:
        value: Any = await client.get(key_of(session_id))
        return None if value is None else bytes(value)


async def saved(process: Process, times: int = 1) -> Session:
    """Return a session of which a copy is in the hot tier."""
    session = full_session(uuid4())
    for _ in range(times):
        await process.store.save(session)
    assert await process.store.promote_to_hot(session.session_id) is False
    return session


async def make_every_call(store: TieredSessionStore, before: Session) -> None:
    """Make every call, on a saved session and on a new one, and check the results."""
    stale = before.model_copy(deep=True)
    assert await store.get(before.session_id) == before
    await store.save(before)
    assert await store.get(before.session_id) == before
    with pytest.raises(ConflictError) as refused:
        await store.save(stale)
    assert refused.value.current_revision == before.revision
    fresh = make_session(before.tenant_id, agent_id=before.agent_id)
    await store.save(fresh)
    assert await store.get(fresh.session_id, tenant_id=uuid4()) is None
    assert await store.list_by_agent(before.tenant_id, before.agent_id) == [fresh, before]
    await store.demote_to_persistent(fresh.session_id)
    await store.promote_to_hot(fresh.session_id)
    assert await store.get(fresh.session_id) == fresh
    async with store.lock(fresh.session_id) as token:
        await store.save(fresh, fence=token)
    assert await store.delete(fresh.session_id) is True
    assert await store.delete(fresh.session_id) is False
    assert await store.get(fresh.session_id) is None


async def configured(node: Node, setting: str, value: object) -> None:
    await node.ask("CONFIG", "SET", setting, value)


async def inject(fault: str, process: Process, hot: Node) -> None:
    """Inject a fault into the hot tier."""
    assert hot.process is not None
    match fault:
        case "a replica":
            await hot.ask("REPLICAOF", "127.0.0.1", 1)
        case "without enough replicas":
            await configured(hot, "min-replicas-to-write", 1)
        case "full":
            await configured(hot, "maxmemory", 1)
        case "frozen":
            hot.process.send_signal(signal.SIGSTOP)
        case "swallowed":
            process.proxy.swallowing = True
        case "cut off":
            process.proxy.lead_to(None)
        case "killed":
            hot.kill()


async def repair(fault: str, process: Process, hot: Node) -> None:
    """Remove the fault."""
    match fault:
        case "a replica":
            await hot.ask("REPLICAOF", "NO", "ONE")
        case "without enough replicas":
            await configured(hot, "min-replicas-to-write", 0)
        case "full":
            await configured(hot, "maxmemory", 0)
        case "frozen":
            assert hot.process is not None
            hot.process.send_signal(signal.SIGCONT)
        case "swallowed":
            process.proxy.swallowing = False
        case "cut off":
            process.proxy.lead_to(hot.port)
        case "killed":
            hot.start()
            await eventually(hot.answers, "the server answers")


@pytest.mark.parametrize(
    "fault", ["a replica", "without enough replicas", "full", "frozen", "swallowed", "cut off", "killed"]
)
async def test_under_any_fault_of_the_hot_tier_every_call_succeeds_and_copies_return_after_it(
    start: Start, hot: Node, fault: str
) -> None:
    process, elsewhere = await start(), await start()
    session = await saved(process)
    process.store._hot = process.store._hot.within(0.25)
    assert process.store.hot_failures == 0
    await inject(fault, process, hot)
    try:
        await make_every_call(process.store, session)
        assert process.store.hot_failures >= 3
        assert process.skipped > 0
    finally:
        await repair(fault, process, hot)
    # No process reads a copy from before the fault.
    assert await elsewhere.store.get(session.session_id) == session

    async def is_read_from_a_copy() -> bool:
        process.clock.now += 1.5
        loads = process.record.loads
        assert await process.store.get(session.session_id) == session
        return process.record.loads == loads

    await eventually(is_read_from_a_copy, "the hot tier answers again")


async def test_a_half_open_breaker_lets_one_call_through_per_pause(process: Process, hot: Node) -> None:
    session = await saved(process)
    hot.kill()
    for _ in range(5):
        assert await process.store.get(session.session_id) == session
    tried = process.store.hot_failures
    assert tried == 3
    for _ in range(3):
        process.clock.now += 1.0
        await asyncio.gather(*(process.store.get(session.session_id) for _ in range(10)))
        tried += 1
        assert process.store.hot_failures == tried


async def test_a_silent_hot_tier_leaves_time_for_postgresql_within_the_deadline(start: Start) -> None:
    patient = await start(hot_timeout=3_600.0)
    session = await saved(patient)
    patient.proxy.swallowing = True
    hurried = patient.store.within(3.0)
    assert await hurried.get(session.session_id) == session
    await hurried.save(session)
    assert patient.store.hot_failures > 0


GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "an empty value": lambda copy: b"",
    "half a copy": lambda copy: copy[: len(copy) // 2],
    "half a header": lambda copy: copy[:20],
    "a copy's first bytes": lambda copy: b"C|",
    "the first bytes of guards": lambda copy: b"G|",
    "noise": lambda copy: os.urandom(100),
    "noise in a copy": lambda copy: b"C|" + os.urandom(100),
    "a copy of a later version": lambda copy: copy.replace(b"|", b"|2|", 1),
    "compressed": lambda copy: copy.replace(b"\np", b"\nz", 1),
    "a moment out of range": lambda copy: b"|".join([*(parts := copy.split(b"|", 4))[:3], b"9" * 30, parts[4]]),
    "another tenant's name": lambda copy: b"|".join([*(parts := copy.split(b"|", 3))[:2], b"x" * 36, parts[3]]),
}
TYPES = {
    "hash": ("HSET", "field", "value"),
    "list": ("LPUSH", "value"),
    "set": ("SADD", "value"),
    "stream": ("XADD", "*", "field", "value"),
}


async def spoil(hot: Node, session_id: UUID, garbage: str) -> None:
    """Put garbage where a session's copy was."""
    async with Redis(host="127.0.0.1", port=hot.port) as client:
        copy = await value_of(hot, session_id)
        assert copy is not None
        await client.delete(key_of(session_id))
        if garbage in TYPES:
            command, *values = TYPES[garbage]
            spoiling: Any = client
            await spoiling.execute_command(command, key_of(session_id), *values)
        else:
            await client.set(key_of(session_id), GARBAGE[garbage](copy))


@pytest.mark.parametrize("garbage", [*GARBAGE, *TYPES])
async def test_garbage_is_a_miss_that_the_next_call_replaces_and_opens_no_breaker(
    process: Process, hot: Node, garbage: str
) -> None:
    store, sessions = process.store, [await saved(process) for _ in range(4)]
    for session in sessions:
        await spoil(hot, session.session_id, garbage)
        assert await store.get(session.session_id) == session
    for session in sessions:
        copy = await store._hot.read(session.session_id)
        assert copy is not None
        assert copy.session == session
        await spoil(hot, session.session_id, garbage)
        await store.demote_to_persistent(session.session_id)
        await store.save(session)
        assert await store._hot.read(session.session_id) is not None
        await spoil(hot, session.session_id, garbage)
        await store._hot.release_guard(session.session_id, "lost", session.revision)
        assert await store.delete(session.session_id) is True
        assert await store.get(session.session_id) is None
    assert process.skipped == 0


@pytest.mark.parametrize("data", ["kept", "lost"])
async def test_copies_are_invalid_after_a_restart_of_the_server(
    process: Process, start: Start, hot: Node, data: str
) -> None:
    reader, session = await start(), await saved(process)
    assert await reader.store.get(session.session_id) == session
    hot.kill()
    await process.store.save(session)
    if data == "lost":
        for path in sorted(hot.directory.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    hot.start()
    await eventually(hot.answers, "the server answers")
    assert (await value_of(hot, session.session_id) is None) is (data == "lost")
    # Its identity has changed, although no lease has ended.
    assert await reader.store.get(session.session_id) == session


async def test_a_promoted_replica_that_lost_a_report_publishes_nothing_older(
    process: Process, nodes: list[Node], start: Start
) -> None:
    primary, replica = nodes
    session, lazy = await saved(process, 3), await saved(process)
    await process.store.demote_to_persistent(session.session_id)
    older = session.model_copy(deep=True)
    behind = await start()
    replica.start()
    await eventually(replica.answers, "the replica answers")
    slow = behind.store._hot
    assert await slow.place_guard(session.session_id, "slow", writing=False) is True
    await replica.ask("REPLICAOF", "127.0.0.1", primary.port)

    async def in_step() -> bool:
        return bool((await replica.info("replication"))["master_link_status"] == "up")

    await eventually(in_step, "the replica is in step")
    await replica.ask("REPLICAOF", "NO", "ONE")
    await process.store.save(session)
    for each in (process, behind):
        each.proxy.lead_to(replica.port)
    # The promoted replica has the guard of the slow reader, and lacks the report of the save.
    await eventually(lambda: slow.release_guard(session.session_id, "slow", older.revision, older, 0), "it is reached")
    for each in (process, behind):
        assert await each.store.get(session.session_id) == session
        assert await each.store.get(lazy.session_id) == lazy


async def test_a_demoted_primary_is_not_read_on_connections_from_before(start: Start, nodes: list[Node]) -> None:
    former, successor = nodes
    successor.start()
    await eventually(successor.answers, "the successor answers")
    reader, writer = await start(), await start()
    session = await saved(reader)
    await former.ask("REPLICAOF", "127.0.0.1", 1)
    writer.proxy.lead_to(successor.port)
    await writer.store.save(session)
    assert (await value_of(former, session.session_id) or b"").startswith(b"C|1|")
    assert await reader.store.get(session.session_id) == session


async def test_a_save_without_a_guard_is_read_here_at_once_and_elsewhere_after_a_lease(start: Start, hot: Node) -> None:
    writer, reader = await start(), await start()
    session = await saved(writer)
    before = session.model_copy(deep=True)
    assert await reader.store.get(session.session_id) == before
    writer.proxy.lead_to(None)
    await writer.store.save(session)
    assert await reader.store.get(session.session_id) == before
    reader.clock.now += LEASE.total_seconds()
    assert await reader.store.get(session.session_id) == before
    reader.clock.now += 0.001
    # The outdated copy is still there when the writer reaches the hot tier again.
    writer.proxy.lead_to(hot.port)
    assert (await writer.store._hot.read(session.session_id)) is not None
    assert await writer.store.get(session.session_id) == session
    assert await reader.store.get(session.session_id) == session


@pytest.mark.parametrize("refused", [False, True])
async def test_a_writer_that_cannot_release_its_guard_invalidates_copies(
    start: Start, slow_reader: HotCopies, hot: Node, refused: bool
) -> None:
    writer, reader = await start(), await start()
    session = await saved(writer)
    before = session.model_copy(deep=True)
    assert await reader.store.get(session.session_id) == before
    if refused:
        await writer.record.save(session)

    async def publish_an_older_copy() -> None:
        await hot.ask("FLUSHALL")
        await slow_reader.place_guard(session.session_id, "slow", writing=False)
        await slow_reader.release_guard(session.session_id, "slow", before.revision, before)

    async def cut() -> None:
        writer.proxy.lead_to(None)

    writer.record.before, writer.record.after = publish_an_older_copy, cut
    if refused:
        with pytest.raises(ConflictError):
            await writer.store.save(before.model_copy(deep=True))
    else:
        await writer.store.save(session)
    assert await reader.store.get(session.session_id) == before
    reader.clock.now += LEASE.total_seconds() + 0.001
    assert await reader.store.get(session.session_id) == session


async def test_a_load_that_fails_releases_its_guard(process: Process, hot: Node, engines: Embedded) -> None:
    session = await saved(process)
    await process.store.demote_to_persistent(session.session_id)
    (port,) = free_ports(1)
    async with (
        await create_pool(f"postgresql://nobody@127.0.0.1:{port}/none") as nowhere,
        create_client(f"redis://127.0.0.1:{hot.port}") as client,
    ):
        blind = TieredSessionStore(client, PostgresSessionStore(nowhere))
        with pytest.raises(ConnectionError):
            await blind.get(session.session_id)
    assert await value_of(hot, session.session_id) is None
    assert await process.store.get(session.session_id) == session
    assert await value_of(hot, session.session_id) is not None


@pytest.mark.parametrize("staggered", [False, True])
async def test_concurrent_misses_are_a_single_flight(process: Process, staggered: bool) -> None:
    session = await saved(process)
    await process.store.demote_to_persistent(session.session_id)
    process.store._loads._patience = 60.0

    async def read(number: int) -> Session | None:
        for _ in range(number if staggered else 0):
            await asyncio.sleep(0)
        return await process.store.get(session.session_id)

    found = await asyncio.gather(*map(read, range(100)))
    assert found == [session] * 100
    assert len({id(each) for each in found}) == 100
    assert 1 <= process.record.loads <= 2


async def test_after_many_cancellations_connections_work_and_reads_are_current(process: Process) -> None:
    session = await saved(process)
    for turn in range(24):
        attempt = session.model_copy(deep=True)
        calls: list[asyncio.Task[object]] = [
            asyncio.create_task(process.store.get(session.session_id)) for _ in range(12)
        ]
        calls += [asyncio.create_task(process.store.save(attempt))]
        for _ in range(turn):
            await asyncio.sleep(0)
        for call in calls[turn % 2 :: 2]:
            call.cancel()
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        # A save that was cancelled may still be committed, before the next one.
        assert not any(isinstance(result, Exception) and not isinstance(result, ConflictError) for result in results)
        session = await process.record.get(session.session_id) or session
        assert await process.store.get(session.session_id) == session
    assert await asyncio.gather(*(process.store.get(session.session_id) for _ in range(100))) == [session] * 100
    assert process.store.hot_failures == 0


async def test_a_deletion_that_cannot_be_reported_has_an_unknown_outcome_and_is_not_repeated(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await saved(process)

    async def remove(*args: Any, **kwargs: Any) -> UUID | None:
        holder = await PostgresSessionStore.remove(process.record, *args, **kwargs)
        process.proxy.lead_to(None)
        return holder

    async def refuse(tenant_id: UUID) -> None:
        raise ConnectionError("too many clients", outcome="not_applied")

    monkeypatch.setattr(process.record, "remove", remove)
    monkeypatch.setattr(process.record, "invalidate_copies", refuse)
    with pytest.raises(ConnectionError) as unreported:
        await process.store.delete(session.session_id)
    assert unreported.value.outcome == "unknown"
