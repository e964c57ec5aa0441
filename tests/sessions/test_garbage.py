"""Values in the hot tier that no store wrote: misses, which the next guard replaces."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis

from convostore.tiered.values import Guard
from tests.cluster.nodes import Node
from tests.sessions.guards import copy_key, guard_key
from tests.sessions.processes import Process, value_of

GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "an empty value": lambda copy: b"",
    "half a copy": lambda copy: copy[: len(copy) // 2],
    "half a header": lambda copy: copy[:20],
    "a copy's first bytes": lambda copy: b"C|",
    "the first bytes of a guard": lambda copy: b"G|",
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
        await client.delete(copy_key(session_id))
        if garbage in TYPES:
            command, *values = TYPES[garbage]
            spoiling: Any = client
            await spoiling.execute_command(command, copy_key(session_id), *values)
        else:
            await client.set(copy_key(session_id), GARBAGE[garbage](copy))


@pytest.mark.parametrize("garbage", [*GARBAGE, *TYPES])
async def test_garbage_is_a_miss_that_the_next_call_replaces_and_opens_no_breaker(
    process: Process, hot: Node, garbage: str
) -> None:
    store, sessions = process.store, [await process.saved() for _ in range(4)]
    for session in sessions:
        await spoil(hot, session.session_id, garbage)
        assert await store.get(session.session_id) == session
    await process.settled()
    for session in sessions:
        copy = await store._hot.read(session.session_id)
        assert copy is not None
        assert copy.session == session
        await spoil(hot, session.session_id, garbage)
        await store.demote_to_persistent(session.session_id)
        await store.save(session)
        assert await store._hot.read(session.session_id) is not None
        await spoil(hot, session.session_id, garbage)
        await store._hot.release(Guard(session.session_id, session.tenant_id, "lost"), session.revision)
        assert await store.delete(session.session_id) is True
        assert await store.get(session.session_id) is None
    assert process.skipped == 0


@pytest.mark.parametrize("garbage", ["", "G|", "G|a|b|c", "C|1|", *TYPES])
async def test_garbage_in_place_of_a_guard_is_replaced(process: Process, hot: Node, garbage: str) -> None:
    session = await process.saved()
    guard = Guard(session.session_id, session.tenant_id, "mine")

    async def spoil_the_guard() -> None:
        async with Redis(host="127.0.0.1", port=hot.port) as client:
            await client.delete(guard_key(guard))
            if garbage in TYPES:
                command, *values = TYPES[garbage]
                spoiling: Any = client
                await spoiling.execute_command(command, guard_key(guard), *values)
            else:
                await client.set(guard_key(guard), garbage)

    await spoil_the_guard()
    await process.store.save(session)
    assert await process.answers_from_a_copy(session)
    await process.store.demote_to_persistent(session.session_id)
    await spoil_the_guard()
    assert await process.store.promote_to_hot(session.session_id) is True
    await process.store._hot.guard_write(guard, expected=1)
    await spoil_the_guard()
    assert await process.store._hot.release(guard, session.revision) is False
    assert process.store.hot_failures == 0
