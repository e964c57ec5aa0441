"""What a pooler keeps, and what the stores leave on the sessions that it hands out."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from convostore import open_stores
from convostore.embedded import Embedded
from convostore.errors import ValidationError
from convostore.postgres import PostgresConfigStore, create_pool
from convostore.postgres.pool import connect
from convostore.testing.factories import make_agent, make_session
from tests.pooler.conftest import LIMITS
from tests.pooler.pgbouncer import Pooler

STATE = """
SELECT current_user::text AS role, current_setting('search_path') AS search_path, current_setting('jit') AS jit,
    coalesce(current_setting('convostore.patience', true), '') AS patience,
    pg_backend_pid() AS pid, current_setting('lock_timeout') AS lock_timeout,
    (SELECT count(*) FROM pg_prepared_statements) AS prepared
"""
ROLES = {"session": "convostore_app", "transaction": "pooled"}


async def test_the_stores_work_and_say_what_stands_between(engines: Embedded, login: str, pooler: Pooler) -> None:
    url, mode = pooler.dsn(login), pooler.mode
    async with open_stores(postgres_url=url, redis_url=engines.redis_url, pooler=mode, sweep_every=0) as stores:
        agent, session = make_agent(uuid4()), make_session(uuid4())
        await stores.config.save_agent(agent)
        await stores.sessions.save(session)
        assert await stores.config.get_agent(agent.tenant_id, agent.id) == agent
        assert await stores.sessions.get(session.session_id) == session
        health = await stores.health()
        assert health.ok, health
        assert health.backends["postgres"].role == ROLES[mode]
        assert str(stores.engines.postgres).endswith(f", database convostore, behind a pooler in {mode} mode")


async def test_connections_share_few_sessions_and_leave_nothing_on_them(
    by_transaction: Pooler, login: str, admin: Any
) -> None:
    agents = [make_agent(uuid4()) for _ in range(50)]
    async with await create_pool(by_transaction.dsn(login), pooler="transaction", max_size=10) as pool:
        store = PostgresConfigStore(pool)
        for _ in range(2):  # The second time they travel together.
            await asyncio.gather(*(store.save_agent(agent) for agent in agents))
        assert {agent.revision for agent in agents} == {2}
        found = await asyncio.gather(*(store.within(600).get_agent(each.tenant_id, each.id) for each in agents))
        assert found == agents
        assert pool.get_size() == 10
        rows = await asyncio.gather(*(pool.fetchrow(STATE) for _ in range(20)))
    states = [dict(row or ()) for row in rows]
    assert len({state.pop("pid") for state in states}) <= 2
    kept = {"role": login, "search_path": '"$user", public', "jit": await admin.fetchval("SHOW jit")}
    given = {"lock_timeout": LIMITS["lock_timeout"]}
    assert states == 20 * [{**kept, **given, "patience": "", "prepared": 0}]


async def test_a_session_that_is_kept_has_role_and_settings_and_the_next_client_none_of_them(
    by_session: Pooler, login: str
) -> None:
    url = by_session.dsn(login)
    async with await create_pool(url, pooler="session", max_size=1, settings={"lock_timeout": "3s"}) as pool:
        await PostgresConfigStore(pool).get_agent(uuid4(), uuid4())
        state = dict(await pool.fetchrow(STATE) or ())
    pid = state.pop("pid")
    assert state.pop("prepared") > 0
    kept = {"role": "convostore_app", "search_path": '"$user", public', "jit": "off"}
    assert state == {**kept, "patience": "5000ms", "lock_timeout": "3s"}
    connection = await connect(url)
    try:
        row = await connection.fetchrow(STATE)
    finally:
        await connection.close()
    assert (row["pid"], row["role"], row["patience"], row["prepared"]) == (pid, login, "", 0)


async def test_an_operator_takes_its_role_in_a_session(by_session: Pooler, admin: Any) -> None:
    await admin.execute("CREATE ROLE operator LOGIN IN ROLE convostore_maintenance")
    url, role = by_session.dsn("operator"), "convostore_maintenance"
    async with await create_pool(url, pooler="session", role=role, max_size=1) as pool:
        assert await pool.fetchval("SELECT current_user") == role
    await admin.execute("DROP ROLE operator")


@pytest.mark.parametrize("given", [{"settings": {"work_mem": "8MB"}}, {"role": "convostore_maintenance"}])
async def test_what_a_pooler_would_lose_is_refused_before_connecting(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(ValidationError) as refused:
        _ = await create_pool("postgresql://a@nowhere.invalid/x", pooler="transaction", **given)
    assert str(refused.value) == f'{name}: pooler="transaction" takes them from the user of the URL (ALTER ROLE … SET)'
