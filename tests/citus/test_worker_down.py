"""A worker that is down costs its tenants alone, and they are served again without a new connection pool.

`CONVOSTORE_TEST_CITUS_STOP` and `CONVOSTORE_TEST_CITUS_START` are commands that stop one worker and start it again.
"""

from __future__ import annotations

import asyncio
import os
from uuid import uuid4

from convostore.errors import ConnectionError
from convostore.models import Session
from convostore.postgres import PostgresSessionStore
from convostore.testing.factories import make_session
from tests.citus.conftest import Pool, needs

needs(__name__, "URL", "STOP", "START")


async def run(command: str) -> None:
    """Run one of the commands."""
    process = await asyncio.create_subprocess_shell(os.environ[f"CONVOSTORE_TEST_CITUS_{command}"])
    assert await process.wait() == 0


async def is_served(store: PostgresSessionStore, session: Session) -> bool:
    """Return whether a session can be read and saved; a node that is down is a ConnectionError, and nothing else."""
    bound = store.for_tenant(session.tenant_id)
    try:
        assert await bound.get(session.session_id) == session
        await bound.save(session)
    except ConnectionError:
        return False
    return True


async def test_a_worker_that_is_down_costs_its_tenants_alone(pool: Pool) -> None:
    store = PostgresSessionStore(pool, sessions_by_tenant=True)
    sessions = [make_session(uuid4()) for _ in range(32)]
    for session in sessions:
        await store.save(session)
    await run("STOP")
    try:
        served = [await is_served(store.within(10), session) for session in sessions]
        assert 0 < sum(served) < len(sessions)
        again = [await is_served(store.within(10), session) for session in sessions]
        assert again == served
    finally:
        await run("START")
    async with asyncio.timeout(60):
        for session in sessions:
            while not await is_served(store.within(10), session):
                pass
