"""A server that dies in the middle of a call, and one that is gone for good."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from uuid import uuid4

import pytest

from convostore.embedded import open_embedded
from convostore.errors import ConnectionError
from convostore.postgres import PostgresSessionStore, create_pool, migrate
from convostore.testing.factories import make_session
from tests.postgres.blocking import blocking, single, waiting
from tests.postgres.databases import connected
from tests.postgres.test_errors import LOCKED, facts, failure


async def test_a_pool_outlives_a_killed_server_and_what_was_acknowledged_is_there(
    area: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = make_session(uuid4())
    async with open_embedded(ephemeral=True, valkey=False) as engines:
        await migrate(engines.postgres_dsn)
        async with single(engines.postgres_dsn) as (pool, pid):
            store = PostgresSessionStore(pool)
            await store.save(session)
            killed = engines.postgres_pid
            assert killed is not None
            async with (
                connected(engines.postgres_dsn) as admin,
                blocking(engines.postgres_dsn, LOCKED, session.session_id),
            ):
                call = asyncio.create_task(store.delete(session.session_id))
                await waiting(admin, pid)
                os.kill(killed, signal.SIGKILL)
                error = await failure(call, caplog)
            assert facts(error)[:3] == (ConnectionError, True, "unknown")
            await engines.wait_ready(without=killed)
            assert await store.get(session.session_id) == session
    # The server is gone for good now.
    caplog.clear()
    async with await create_pool(engines.postgres_dsn) as pool:
        error = await failure(PostgresSessionStore(pool).get(session.session_id), caplog)
    assert facts(error)[:3] == (ConnectionError, True, "not_applied")
    assert isinstance(error.__cause__, OSError)
    with pytest.raises(ConnectionError, match="no socket at the path"):
        await migrate(engines.postgres_dsn)
