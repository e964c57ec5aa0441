"""Which copies are valid after a restart, a promotion or a write without a guard: none that is outdated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from convostore.errors import ConflictError, ConnectionError
from convostore.postgres import PostgresSessionStore
from convostore.redis import create_client
from convostore.tiered.copies import HotCopies
from convostore.tiered.values import Guard
from tests.cluster.nodes import Node, eventually
from tests.sessions.processes import LEASE, Process, Start, value_of


@pytest.mark.parametrize("data", ["kept", "lost"])
async def test_copies_are_invalid_after_a_restart_of_the_server(
    process: Process, start: Start, hot: Node, data: str
) -> None:
    reader, session = await start(), await process.saved()
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
    session, lazy = await process.saved(3), await process.saved()
    await process.store.demote_to_persistent(session.session_id)
    older = session.model_copy(deep=True)
    behind = await start()
    replica.start()
    await eventually(replica.answers, "the replica answers")
    slow, guard = behind.store._hot, Guard(session.session_id, session.tenant_id, "slow")
    assert await slow.guard_load(guard, generation=0)
    await replica.ask("REPLICAOF", "127.0.0.1", primary.port)

    async def in_step() -> bool:
        return bool((await replica.info("replication"))["master_link_status"] == "up")

    await eventually(in_step, "the replica is in step")
    await replica.ask("REPLICAOF", "NO", "ONE")
    await process.store.save(session)
    for each in (process, behind):
        each.proxy.lead_to(replica.port)
    # The promoted replica has the guard of the slow reader, and lacks the report of the save.

    async def reached() -> bool:
        return await slow.release(guard, older.revision, older) is not None

    await eventually(reached, "it is reached")
    for each in (process, behind):
        assert await each.store.get(session.session_id) == session
        assert await each.store.get(lazy.session_id) == lazy


async def test_a_demoted_primary_is_not_read_on_connections_from_before(start: Start, nodes: list[Node]) -> None:
    former, successor = nodes
    successor.start()
    await eventually(successor.answers, "the successor answers")
    reader, writer = await start(), await start()
    session = await reader.saved()
    await former.ask("REPLICAOF", "127.0.0.1", 1)
    writer.proxy.lead_to(successor.port)
    await writer.store.save(session)
    assert (await value_of(former, session.session_id) or b"").startswith(b"C|1|")
    assert await reader.store.get(session.session_id) == session


async def test_a_save_without_a_guard_is_read_here_at_once_and_elsewhere_after_a_lease(start: Start, hot: Node) -> None:
    writer, reader = await start(), await start()
    session = await writer.saved()
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


@pytest.fixture
async def slow_reader(hot: Node) -> AsyncIterator[HotCopies]:
    """The hot tier of a process that takes long between reading the system of record and publishing."""
    async with create_client(f"redis://127.0.0.1:{hot.port}") as client:
        yield HotCopies(client, ttl=timedelta(hours=1), lease=LEASE, timeout=5.0)


@pytest.mark.parametrize("refused", [False, True])
async def test_a_writer_that_cannot_release_its_guard_invalidates_copies(
    start: Start, slow_reader: HotCopies, hot: Node, refused: bool
) -> None:
    writer, reader = await start(), await start()
    session = await writer.saved()
    before = session.model_copy(deep=True)
    assert await reader.store.get(session.session_id) == before
    if refused:
        await writer.record.save(session)

    async def publish_an_older_copy() -> None:
        await hot.ask("FLUSHALL")
        guard = Guard(session.session_id, session.tenant_id, "slow")
        assert await slow_reader.guard_load(guard, generation=0)
        assert await slow_reader.release(guard, before.revision, before)

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


async def test_a_deletion_that_cannot_be_reported_has_an_unknown_outcome_and_is_not_repeated(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await process.saved()

    async def remove(*args: Any, **kwargs: Any) -> bool:
        deleted = await PostgresSessionStore.remove(process.record, *args, **kwargs)
        process.proxy.lead_to(None)
        return deleted

    async def refuse(tenant_id: UUID) -> None:
        raise ConnectionError("too many clients", outcome="not_applied")

    monkeypatch.setattr(process.record, "remove", remove)
    monkeypatch.setattr(process.record, "invalidate_copies", refuse)
    with pytest.raises(ConnectionError) as unreported:
        await process.store.delete(session.session_id)
    assert unreported.value.outcome == "unknown"
