"""The tiered store while its hot tier is unreachable, slow, read-only, full or damaged: every call still succeeds."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from convostore.embedded import Embedded
from convostore.errors import ConflictError, ConnectionError
from convostore.models import Session
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import create_client
from convostore.testing.factories import make_session
from convostore.tiered import TieredSessionStore
from tests.cluster.nodes import Node, eventually, free_ports
from tests.sessions.processes import Process, Start, key_of, saved, value_of


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
