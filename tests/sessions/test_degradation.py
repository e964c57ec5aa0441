"""The tiered store while its hot tier is unreachable, slow, read-only or full: every call still succeeds."""

from __future__ import annotations

import asyncio
import signal
from uuid import uuid4

import pytest

from convostore.errors import ConflictError
from convostore.models import Session
from convostore.testing.factories import make_session
from convostore.tiered import TieredSessionStore
from tests.cluster.nodes import Node, eventually
from tests.sessions.processes import Process, Start


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
            process.proxy.silence()
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
            process.proxy.heal()
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
    session = await process.saved()
    process.store._hot._timeout = 0.25
    assert process.store.hot_failures == 0
    await inject(fault, process, hot)
    try:
        await make_every_call(process.store, session)
        assert process.store.hot_failures >= 3
        # A full server still answers reads, each of which closes the breaker.
        assert process.skipped > 0 or fault == "full"
    finally:
        await repair(fault, process, hot)
    # No process reads a copy from before the fault.
    assert await elsewhere.store.get(session.session_id) == session

    async def is_read_from_a_copy() -> bool:
        process.clock.now += 1.5
        return await process.answers_from_a_copy(session)

    await eventually(is_read_from_a_copy, "the hot tier answers again")


async def test_a_half_open_breaker_lets_one_call_through_per_pause(process: Process, hot: Node) -> None:
    session = await process.saved()
    hot.kill()
    for _ in range(5):
        assert await process.store.get(session.session_id) == session
    tried = process.store.hot_failures
    assert tried == 3
    assert process.skipped == 2
    for _ in range(3):
        process.clock.now += 1.0
        await asyncio.gather(*(process.store.get(session.session_id) for _ in range(10)))
        tried += 1
        assert process.store.hot_failures == tried


async def test_a_silent_hot_tier_leaves_time_for_postgresql_within_the_deadline(start: Start) -> None:
    patient = await start(hot_timeout=3_600.0)
    session = await patient.saved()
    patient.proxy.silence()
    hurried = patient.store.within(3.0)
    assert await hurried.get(session.session_id) == session
    await hurried.save(session)
    assert patient.store.hot_failures > 0
