"""What differs beside the statements where tables are distributed: limits of connections, the size of a scope."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from convostore.contracts.session import Swept
from convostore.errors import ConnectionError, StoreError
from convostore.postgres import PostgresConfigStore, PostgresMemoryStore, PostgresSessionStore, create_pool, session
from convostore.testing.factories import make_agent, make_episode, make_session
from tests.postgres.blocking import blocking
from tests.postgres.databases import connected

LIMITS = (
    "SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout'), "
    "coalesce(current_setting('transaction_timeout', true), '5s')"
)
"""PostgreSQL 16 has no transaction_timeout."""

REFUSED = """
CREATE TRIGGER refused BEFORE DELETE ON convostore.session
FOR EACH ROW WHEN (OLD.tenant_id = '{}') EXECUTE FUNCTION convostore.refuse_change()
"""

AGENT = "SELECT FROM convostore.agent WHERE id = $1 FOR UPDATE"


async def test_connections_have_limits_of_their_own(prepared: str) -> None:
    async with await create_pool(prepared, max_size=1) as pool:
        store = PostgresConfigStore(pool)
        await store.get_agent(uuid4(), uuid4())
        assert tuple(await pool.fetchrow(LIMITS) or ()) == ("5s", "5s", "5s")
        await store.within(60).get_agent(uuid4(), uuid4())
        assert await pool.fetchval(LIMITS) == "1min"


async def test_a_limit_of_the_user_stays(prepared: str) -> None:
    async with await create_pool(prepared, max_size=1, settings={"statement_timeout": "123ms"}) as pool:
        store = PostgresConfigStore(pool)
        await store.within(60).get_agent(uuid4(), uuid4())
        assert await pool.fetchval(LIMITS) == "123ms"


async def test_a_statement_that_waits_for_a_lock_is_ended_by_the_server(prepared: str) -> None:
    agent = make_agent(uuid4())
    async with await create_pool(prepared, max_size=1, settings={"statement_timeout": "100ms"}) as pool:
        store = PostgresConfigStore(pool)
        await store.save_agent(agent)
        async with blocking(prepared, AGENT, agent.id):
            with pytest.raises(ConnectionError, match="cancelled the statement") as caught:
                await store.within(600).save_agent(agent.model_copy(), overwrite=True)
    # The node may have committed before the coordinator heard of it.
    assert caught.value.outcome == "unknown"


async def test_a_text_search_counts_a_large_scope(prepared: str) -> None:
    tenant, agent = uuid4(), uuid4()
    async with await create_pool(prepared) as pool:
        store = PostgresMemoryStore(pool).within(60)
        start = datetime(2026, 1, 1, tzinfo=UTC)
        rare, *_ = given = [
            make_episode(
                tenant,
                agent,
                content=f"sparrow {number}" if number else "a heron",
                recorded_at=start + timedelta(number),
            )
            for number in range(1_200)
        ]
        await store.add_episodes(given)
        assert await store.text_search_episodes("where is the heron", tenant, agent) == [rare]
    async with connected(prepared) as administrator:
        definition = await administrator.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'scored_episodes'")
    assert "EXPLAIN" not in definition


async def test_a_sweep_deletes_and_tells_the_sessions_of_the_tenants_that_do_not_fail(prepared: str) -> None:
    sessions = [make_session(uuid4()) for _ in range(5)]
    triggers = {"citus.enable_unsafe_triggers": "on"}
    async with await create_pool(prepared) as pool, connected(prepared, **triggers) as administrator:
        for each in sessions:
            await PostgresSessionStore(pool, sessions_by_tenant=True).save(each)
        store = PostgresSessionStore(pool, sessions_by_tenant=True, max_age=timedelta(0))
        await administrator.execute(REFUSED.format(sessions[2].tenant_id))
        assert await store.sweep() == Swept(demoted=0, deleted=4)
        with pytest.raises(StoreError):
            await store.sweep()
        await administrator.execute("DROP TRIGGER refused ON convostore.session")
        assert await store.sweep() == Swept(demoted=0, deleted=1)


async def test_a_sweep_ends_in_time_however_many_tenants_have_old_sessions(
    prepared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "TENANTS_AT_ONCE", 2)
    async with await create_pool(prepared) as pool:
        store = PostgresSessionStore(pool, sessions_by_tenant=True, max_age=timedelta(0))
        for _ in range(5):
            await store.save(make_session(uuid4()))
        assert [(await store.sweep()).deleted for _ in range(4)] == [2, 2, 1, 0]
