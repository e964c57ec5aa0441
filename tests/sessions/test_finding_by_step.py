"""The cost of `find_sessions_by_step_hash` depends on the matches alone, not on the number of sessions."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from redis.asyncio import Redis

from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.models import Session
from convostore.postgres import PostgresSessionStore, create_pool, migrate
from convostore.postgres.queries import queries
from convostore.redis import RedisSessionStore, create_client
from convostore.testing.factories import make_session, make_visit
from tests.postgres.databases import connected, fresh_database
from tests.redis.monitoring import monitoring
from tests.sessions.conftest import DATABASE

MATCHING = 10
AGENT = UUID(int=1)


def at_step(tenant: UUID, scenario: UUID, step: str) -> Session:
    """Return a session whose current step is this one."""
    return make_session(
        tenant,
        agent_id=AGENT,
        active_scenario_id=scenario,
        active_scenario_version=1,
        step_history=[make_visit(step_content_hash=step)],
    )


async def fill(store: SessionStore, tenant: UUID, scenario: UUID, count: int) -> None:
    """Store sessions of which ten are at the step `here`, and the others at ten other steps."""
    steps = ["here"] * MATCHING + [f"step {number % 10}" for number in range(count - MATCHING)]
    for start in range(0, count, 500):
        part = steps[start : start + 500]
        await asyncio.gather(*(store.save(at_step(tenant, scenario, step)) for step in part))


async def commands_to_find(client: Redis, path: str, count: int) -> Counter[str]:
    """Return the commands on keys that finding ten of so many sessions takes; each has one key."""
    store, tenant, scenario = RedisSessionStore(client, timeout=60), uuid4(), uuid4()
    await fill(store, tenant, scenario, count)
    async with monitoring(client, path, DATABASE) as monitor:
        assert len(await store.find_sessions_by_step_hash(tenant, scenario, 1, "here")) == MATCHING
        return Counter(command.name for command in await monitor.seen() if "convostore:" in command.arguments[0])


async def test_on_redis_the_commands_depend_on_the_matches_alone(engines: Embedded) -> None:
    async with create_client(f"{engines.redis_url}?db={DATABASE}") as client:
        path = engines.redis_url.removeprefix("unix://")
        found = [await commands_to_find(client, path, count) for count in (100, 1_000)]
    assert found == [Counter(EXISTS=64, ZRANGEBYSCORE=64, GET=MATCHING)] * 2


async def rows_to_find(pool: asyncpg.Pool[Any], dsn: str, count: int) -> int:
    """Return how many rows are scanned to find ten of so many sessions."""
    store, tenant, scenario = PostgresSessionStore(pool, timeout=60), uuid4(), uuid4()
    await fill(store, tenant, scenario, count)
    async with connected(dsn) as admin:
        await admin.execute("ANALYZE convostore.session")
    assert len(await store.find_sessions_by_step_hash(tenant, scenario, 1, "here")) == MATCHING
    statement, *values = queries("session").sessions_at_step(
        tenant_id=tenant,
        scenario_id=scenario,
        scenario_version=1,
        step_content_hash="here",
        include_channels=[],
        exclude_channels=[],
        include_steps=[],
        exclude_steps=[],
        created_since=None,
        created_until=None,
        after_activity=None,
        after_session=None,
        limit=None,
        offset=0,
    )
    async with pool.acquire() as connection:
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values)
        return rows_scanned(json.loads(plan)[0]["Plan"])


def rows_scanned(node: dict[str, Any]) -> int:
    """Return how many rows of the session table a plan has scanned."""
    rows = sum(map(rows_scanned, node.get("Plans", [])))
    if node.get("Relation Name") == "session":
        dropped = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        rows += round(node["Actual Loops"] * (node["Actual Rows"] + dropped))
    return rows


async def test_on_postgresql_only_matching_rows_are_scanned(engines: Embedded) -> None:
    # A database of its own: statistics of other tests' rows would change the plan. A small table would be scanned.
    async with fresh_database(engines.postgres_dsn) as dsn:
        await migrate(dsn)
        async with await create_pool(dsn, settings={"enable_seqscan": "off"}) as pool:
            scanned = [await rows_to_find(pool, dsn, count) for count in (1_000, 2_000)]
    assert scanned == [MATCHING] * 2
