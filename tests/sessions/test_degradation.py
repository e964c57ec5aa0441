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


class Hand:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Truth(PostgresSessionStore):
    """PostgreSQL, with loads counted, and things that happen right before and after a write."""

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
    """What one process has: a store, its clock, and its ways to the servers."""

    store: TieredSessionStore
    truth: Truth
    clock: Hand
    proxy: Proxy

    @property
    def skipped(self) -> int:
        """How many calls of the hot tier were not tried."""
        return self.store._hot.breaker.skipped


Start: TypeAlias = Callable[..., Awaitable[Process]]


@pytest.fixture
async def nodes(area: Path) -> AsyncIterator[list[Node]]:
    """Two Valkey servers of the test's own, which write what they are told to a file; the second is not started."""
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
    """Starts processes that share nothing but the servers, each with a way of its own to the hot tier."""
    async with AsyncExitStack() as stack:

        async def started(**given: Any) -> Process:
            proxy = await stack.enter_async_context(proxy_to(hot.port))
            pool = await stack.enter_async_context(await create_pool(engines.postgres_dsn))
            client = await stack.enter_async_context(create_client(f"redis://127.0.0.1:{proxy.port}"))
            clock, truth = Hand(), Truth(pool, timeout=100.0)
            options: dict[str, Any] = {"hot_lease": LEASE, "hot_timeout": 10.0, "timeout": 100.0, "monotonic": clock}
            options |= given
            return Process(TieredSessionStore(client, truth, **options), truth, clock, proxy)

        yield started


@pytest.fixture
async def process(start: Start) -> Process:
    """One process."""
    return await start()


@pytest.fixture
async def slow_reader(hot: Node) -> AsyncIterator[HotCopies]:
    """The hot tier as a process sees it that takes long between reading the truth and publishing it."""
    async with create_client(f"redis://127.0.0.1:{hot.port}") as client:
        yield HotCopies(client, ttl=timedelta(hours=1), fence_ttl=timedelta(minutes=1), timeout=5.0)


def key_of(session_id: UUID) -> str:
    return f"{keys.bucket(session_id)}copy:{session_id}"


async def standing(node: Node, session_id: UUID) -> bytes | None:
    """Return what stands at a session's key."""
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


async def everything(store: TieredSessionStore, before: Session) -> None:
    """Make every call on a session that was saved before, and on a new one, and check the answers."""
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


async def fail(fault: str, process: Process, hot: Node) -> None:
    """Make something bad happen to the hot tier."""
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


async def mend(fault: str, process: Process, hot: Node) -> None:
    """Make it good again."""
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
async def test_whatever_happens_to_the_hot_tier_every_call_is_answered_and_copies_come_back_by_themselves(
    start: Start, hot: Node, fault: str
) -> None:
    process, elsewhere = await start(), await start()
    session = await saved(process)
    process.store._hot = process.store._hot.within(0.25)
    assert process.store.hot_failures == 0
    await fail(fault, process, hot)
    try:
        await everything(process.store, session)
        assert process.store.hot_failures >= 3
        assert process.skipped > 0
    finally:
        await mend(fault, process, hot)
    # Another process is not given what was there before, nor is this one when it looks again.
    assert await elsewhere.store.get(session.session_id) == session

    async def is_read_from_a_copy() -> bool:
        process.clock.now += 1.5
        loads = process.truth.loads
        assert await process.store.get(session.session_id) == session
        return process.truth.loads == loads

    await eventually(is_read_from_a_copy, "the hot tier answers again")


async def test_while_it_is_open_the_breaker_lets_one_call_through_after_each_pause(process: Process, hot: Node) -> None:
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


async def test_a_hot_tier_that_says_nothing_leaves_time_to_ask_postgresql(start: Start) -> None:
    patient = await start(hot_timeout=3_600.0)
    session = await saved(patient)
    patient.proxy.swallowing = True
    hurried = patient.store.within(3.0)
    assert await hurried.get(session.session_id) == session
    await hurried.save(session)
    assert patient.store.hot_failures > 0


GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda copy: b"",
    "half a copy": lambda copy: copy[: len(copy) // 2],
    "half a header": lambda copy: copy[:20],
    "a copy's first bytes": lambda copy: b"C|",
    "a fence's first bytes": lambda copy: b"F|",
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
        copy = await standing(hot, session_id)
        assert copy is not None
        await client.delete(key_of(session_id))
        if garbage in TYPES:
            command, *values = TYPES[garbage]
            told: Any = client
            await told.execute_command(command, key_of(session_id), *values)
        else:
            await client.set(key_of(session_id), GARBAGE[garbage](copy))


@pytest.mark.parametrize("garbage", [*GARBAGE, *TYPES])
async def test_garbage_is_replaced_by_whoever_comes_next_and_opens_no_breaker(
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
        await store._hot.leave(session.session_id, "lost", session.revision)
        assert await store.delete(session.session_id) is True
        assert await store.get(session.session_id) is None
    assert process.skipped == 0


@pytest.mark.parametrize("data", ["kept", "lost"])
async def test_a_server_that_was_killed_and_started_again_gives_out_nothing_that_it_had(
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
    assert (await standing(hot, session.session_id) is None) is (data == "lost")
    # Although no time has passed: the server is another one.
    assert await reader.store.get(session.session_id) == session


async def test_a_promoted_replica_that_lost_who_left_a_fence_publishes_nothing_older(
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
    assert await slow.enter(session.session_id, "slow", writing=False) is True
    await replica.ask("REPLICAOF", "127.0.0.1", primary.port)

    async def in_step() -> bool:
        return bool((await replica.info("replication"))["master_link_status"] == "up")

    await eventually(in_step, "the replica is in step")
    await replica.ask("REPLICAOF", "NO", "ONE")
    await process.store.save(session)
    for each in (process, behind):
        each.proxy.lead_to(replica.port)
    # Who read before the save leaves on the promoted replica, which knows of its token and not of the save.
    await eventually(lambda: slow.leave(session.session_id, "slow", older.revision, older, 0), "the replica is reached")
    for each in (process, behind):
        assert await each.store.get(session.session_id) == session
        assert await each.store.get(lazy.session_id) == lazy


async def test_a_primary_that_became_a_replica_is_not_read_on_connections_from_before(
    start: Start, nodes: list[Node]
) -> None:
    former, successor = nodes
    successor.start()
    await eventually(successor.answers, "the successor answers")
    reader, writer = await start(), await start()
    session = await saved(reader)
    await former.ask("REPLICAOF", "127.0.0.1", 1)
    writer.proxy.lead_to(successor.port)
    await writer.store.save(session)
    assert (await standing(former, session.session_id) or b"").startswith(b"C|1|")
    assert await reader.store.get(session.session_id) == session


async def test_a_save_past_the_fence_is_read_elsewhere_after_a_lease_and_here_at_once(start: Start, hot: Node) -> None:
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
    # The copy is still there when the writer sees the hot tier again.
    writer.proxy.lead_to(hot.port)
    assert (await writer.store._hot.read(session.session_id)) is not None
    assert await writer.store.get(session.session_id) == session
    assert await reader.store.get(session.session_id) == session


@pytest.mark.parametrize("refused", [False, True])
async def test_who_has_entered_and_cannot_leave_disowns_the_copies(
    start: Start, slow_reader: HotCopies, hot: Node, refused: bool
) -> None:
    writer, reader = await start(), await start()
    session = await saved(writer)
    before = session.model_copy(deep=True)
    assert await reader.store.get(session.session_id) == before
    if refused:
        await writer.truth.save(session)

    async def publish_behind_its_back() -> None:
        await hot.ask("FLUSHALL")
        await slow_reader.enter(session.session_id, "slow", writing=False)
        await slow_reader.leave(session.session_id, "slow", before.revision, before)

    async def cut() -> None:
        writer.proxy.lead_to(None)

    writer.truth.before, writer.truth.after = publish_behind_its_back, cut
    if refused:
        with pytest.raises(ConflictError):
            await writer.store.save(before.model_copy(deep=True))
    else:
        await writer.store.save(session)
    assert await reader.store.get(session.session_id) == before
    reader.clock.now += LEASE.total_seconds() + 0.001
    assert await reader.store.get(session.session_id) == session


async def test_a_load_that_fails_leaves_the_fence(process: Process, hot: Node, engines: Embedded) -> None:
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
    assert await standing(hot, session.session_id) is None
    assert await process.store.get(session.session_id) == session
    assert await standing(hot, session.session_id) is not None


@pytest.mark.parametrize("staggered", [False, True])
async def test_readers_who_miss_at_once_share_a_load(process: Process, staggered: bool) -> None:
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
    assert 1 <= process.truth.loads <= 2


async def test_a_storm_of_cancellations_leaves_connections_and_right_answers(process: Process) -> None:
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
        session = await process.truth.get(session.session_id) or session
        assert await process.store.get(session.session_id) == session
    assert await asyncio.gather(*(process.store.get(session.session_id) for _ in range(100))) == [session] * 100
    assert process.store.hot_failures == 0


async def test_a_deletion_that_cannot_be_told_has_an_unknown_outcome_and_is_not_repeated(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await saved(process)

    async def remove(*args: Any, **kwargs: Any) -> UUID | None:
        holder = await PostgresSessionStore.remove(process.truth, *args, **kwargs)
        process.proxy.lead_to(None)
        return holder

    async def refuse(tenant_id: UUID) -> None:
        raise ConnectionError("too many clients", outcome="not_applied")

    monkeypatch.setattr(process.truth, "remove", remove)
    monkeypatch.setattr(process.truth, "invalidate_copies", refuse)
    with pytest.raises(ConnectionError) as untold:
        await process.store.delete(session.session_id)
    assert untold.value.outcome == "unknown"
