"""The metrics of opened stores, on both servers: pools, waits, hot copies, the breaker, and the text for Prometheus."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from convostore import Stores, open_stores
from convostore.call.metrics import CONNECTION_PENDING_REQUESTS
from convostore.embedded import Embedded
from convostore.redis import RedisSessionStore, create_client, driver
from convostore.testing.factories import make_agent, make_episode, make_session
from tests.cluster.nodes import free_ports
from tests.counting import Counted
from tests.stores.test_health_app import get

WAIT, COUNT, MAX = (f"db.client.connection.{name}" for name in ("wait_time", "count", "max"))


@pytest.fixture
async def stores(engines: Embedded) -> AsyncIterator[Stores]:
    async with open_stores(
        postgres_url=engines.postgres_dsn, redis_url=engines.redis_url, pool_size=2, timeout=60, sweep_every=0
    ) as opened:
        yield opened


async def waiting(pool: str) -> None:
    """Wait until a caller waits for a connection."""
    async with asyncio.timeout(60):
        while not CONNECTION_PENDING_REQUESTS.figures().get((pool,)):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_pools_tell_their_connections_once_for_all_stores(engines: Embedded) -> None:
    counted = Counted()
    async with open_stores(postgres_url=engines.postgres_dsn, redis_url=engines.redis_url, pool_size=3) as stores:
        await stores.config.get_agent(uuid4(), uuid4())
        await stores.sessions.get(uuid4())
        assert counted[MAX] == {("postgres",): 3, ("redis",): 3}
        assert counted[COUNT] == {("postgres", "idle"): 1, ("redis", "used"): 1}


async def test_a_wait_for_a_connection_of_postgresql_counts(stores: Stores) -> None:
    pool, counted = stores.config._database.pool, Counted()  # type: ignore[attr-defined]
    held = [await pool.acquire() for _ in range(2)]
    call = asyncio.create_task(stores.config.get_agent(uuid4(), uuid4()))
    await waiting("postgres")
    assert counted[COUNT][("postgres", "used")] == 2
    assert counted[WAIT] == {}
    for connection in held:
        await pool.release(connection)
    await call
    assert counted[WAIT] == {("postgres",): 1}
    assert counted["db.client.connection.pending_requests"] == {}


async def test_a_wait_for_a_connection_of_redis_counts(engines: Embedded) -> None:
    async with create_client(engines.redis_url, max_connections=1) as client:
        store, counted = RedisSessionStore(client, timeout=60.0), Counted()
        await store.get(uuid4())
        held = await driver.acquire(client)
        call = asyncio.create_task(store.get(uuid4()))
        await waiting("redis")
        assert counted[COUNT] == {("redis", "used"): 1}
        await driver.release(client, held)
        await call
        assert counted[COUNT] == {("redis", "idle"): 1}
        assert counted[WAIT][("redis",)] >= 2
        await store.aclose()


async def test_hot_copies_that_answer_are_hits(stores: Stores) -> None:
    session, counted = make_session(uuid4()), Counted()
    await stores.sessions.save(session)
    assert await stores.sessions.get(session.session_id) == session
    assert await stores.sessions.get(uuid4()) is None
    assert counted["convostore.hot.reads"] == {("hit",): 1, ("miss",): 1}


async def test_a_hot_tier_that_fails_counts_and_is_bypassed(engines: Embedded) -> None:
    (port,) = free_ports(1)
    counted = Counted()
    async with open_stores(
        postgres_url=engines.postgres_dsn, redis_url=f"redis://127.0.0.1:{port}", timeout=60
    ) as stores:
        for _ in range(5):
            await stores.sessions.get(uuid4())
        assert counted["convostore.hot.bypassed"] == {(): 1}
        assert sum(counted["convostore.hot.failures"].values()) >= 3
        assert counted["convostore.hot.reads"] == {("miss",): 5}
        _, _, body = await get(stores, "/metrics")
    assert 'convostore_backend_up{convostore_backend="redis"} 0' in body
    assert "\nconvostore_hot_bypassed 1\n" in body


async def test_searches_by_vector_count_with_their_strategy(stores: Stores) -> None:
    tenant, agent, counted = uuid4(), uuid4(), Counted()
    await stores.memory.add_episode(make_episode(tenant, agent, content="tea", embedding=[1.0, 0.0]))
    await stores.memory.vector_search_episodes([1.0, 0.0], tenant, agent)
    await stores.memory.search_episodes("tea", [1.0, 0.0], tenant, agent)
    await stores.config.vector_search_rules([1.0, 0.0], tenant, agent)
    await stores.config.search_rules("tea", [1.0, 0.0], tenant, agent)
    assert counted["convostore.vector.searches"] == {
        ("memory", "vector_search_episodes", "exact"): 1,
        ("memory", "search_episodes", "exact"): 1,
        ("config", "vector_search_rules", "exact"): 1,
        ("config", "search_rules", "exact"): 1,
    }


async def test_the_text_for_prometheus_is_one_family_per_metric_without_secrets(
    engines: Embedded, stores: Stores
) -> None:
    agent = make_agent(uuid4())
    await stores.config.save_agent(agent)
    await stores.for_tenant(agent.tenant_id).config.get_agent(agent.tenant_id, agent.id)
    _, headers, body = await get(stores, "/metrics")
    assert headers["content-type"] == "text/plain; version=0.0.4"
    families = re.findall("^# TYPE (.*) .*$", body, re.MULTILINE)
    assert len(families) == len(set(families))
    assert re.search(
        r'^db_client_operation_duration_seconds_count\{db_system_name="postgresql",db_collection_name="config",'
        r'db_operation_name="save_agent"\} \d+$',
        body,
        re.MULTILINE,
    )
    assert 'convostore_backend_up{convostore_backend="postgres"} 1' in body
    for secret in (
        str(agent.tenant_id),
        agent.name,
        "127.0.0.1",
        "localhost",
        "/tmp",
        urlsplit(engines.redis_url).path,
    ):
        assert secret not in body


async def test_a_probe_without_stores_has_no_figures_of_other_backends() -> None:
    async with open_stores(backend="memory") as stores:
        _, _, body = await get(stores, "/metrics")
    assert re.findall("^convostore_backend_up.*$", body, re.MULTILINE) == [
        'convostore_backend_up{convostore_backend="memory"} 1'
    ]
