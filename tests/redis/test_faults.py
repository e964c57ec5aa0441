"""Valkey is killed, frozen or absent."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable
from pathlib import Path
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from convostore.embedded import Embedded, open_embedded
from convostore.errors import ConnectionError
from convostore.redis import RedisSessionStore, check_eviction, create_client
from convostore.testing.factories import full_session, make_session
from tests.redis.checking import check


def pid_of(own: Embedded) -> int:
    """Return the server's pid."""
    assert own.valkey_pid is not None
    return own.valkey_pid


async def test_after_a_kill_and_restart_every_acknowledged_save_is_there(own: Embedded, own_client: Redis) -> None:
    store, tenant = RedisSessionStore(own_client), uuid4()
    sessions = [full_session(tenant) for _ in range(50)]
    for number, session in enumerate(sessions):
        await store.save(session)
        if number % 2:
            await store.demote_to_persistent(session.session_id)
        if number % 5 == 0:
            await store.delete(session.session_id)
    killed = pid_of(own)
    os.kill(killed, signal.SIGKILL)
    await own.wait_ready(without=killed)
    for number, session in enumerate(sessions):
        assert await store.get(session.session_id) == (session if number % 5 else None)
    await store.aclose()
    assert await check(own_client) == 40


async def test_saves_survive_closing_and_opening_the_home(area: Path) -> None:
    session = full_session(uuid4())
    for _ in range(2):
        async with open_embedded(area / "home", postgres=False) as engines, create_client(engines.redis_url) as client:
            await RedisSessionStore(client).save(session)
    async with open_embedded(area / "home", postgres=False) as engines, create_client(engines.redis_url) as client:
        assert await RedisSessionStore(client).get(session.session_id) == session
    assert session.revision == 2


async def test_a_save_that_a_kill_interrupts_is_atomic(own: Embedded, own_client: Redis) -> None:
    store, sessions = RedisSessionStore(own_client), [make_session(uuid4()) for _ in range(64)]
    calls = [asyncio.create_task(store.save(session)) for session in sessions]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    killed = pid_of(own)
    os.kill(killed, signal.SIGKILL)
    results = await asyncio.gather(*calls, return_exceptions=True)
    await own.wait_ready(without=killed)
    for session, result in zip(sessions, results, strict=True):
        if isinstance(result, BaseException):
            assert isinstance(result, ConnectionError)
            assert result.outcome == "unknown"
        else:
            assert await store.get(session.session_id) == session
    await check(own_client, settled=False)


async def test_an_absent_server_is_a_retryable_connection_error(area: Path) -> None:
    async with open_embedded(ephemeral=True, postgres=False) as engines:
        url = engines.redis_url
    async with create_client(url) as client:
        store = RedisSessionStore(client)
        with pytest.raises(ConnectionError) as gone:
            await store.get(uuid4())
        assert (gone.value.retryable, gone.value.outcome, gone.value.code) == (True, "not_applied", "connection")
        assert gone.value.__cause__ is not None
        assert await store.health_check() is False
        with pytest.raises(ConnectionError):
            await check_eviction(client)


async def test_a_frozen_server_fails_calls_at_their_deadline_and_serves_later_ones_when_it_resumes(
    own: Embedded, own_client: Redis
) -> None:
    store, first, second = RedisSessionStore(own_client), make_session(uuid4()), make_session(uuid4())
    await store.save(first)
    await store.save(second)
    hurried = store.within(0.1)
    read = second.model_copy(deep=True)
    os.kill(pid_of(own), signal.SIGSTOP)
    try:
        calls: list[Awaitable[object]] = [
            hurried.get(first.session_id),
            hurried.save(first),
            hurried.list_by_agent(first.tenant_id, first.agent_id),
            hurried.delete(uuid4()),
        ]
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, ConnectionError)
            assert (error.code, error.retryable) == ("timeout", True)
    finally:
        os.kill(pid_of(own), signal.SIGCONT)
    # The replies to expired calls reach no other call.
    assert await asyncio.gather(*(store.get(read.session_id) for _ in range(20))) == [read] * 20
    assert (await store.get(first.session_id)) is not None
    await check(own_client, settled=False)
