"""The health of the stores tells what each server is, and what is wrong with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from convostore import BackendHealth, Health, Stores, open_stores
from convostore.embedded import Embedded
from convostore.errors import StoreError
from convostore.postgres import PostgresConfigStore, PostgresSessionStore, create_pool
from convostore.postgres.migrations import HEAD
from convostore.redis import RedisSessionStore, create_client
from convostore.testing.factories import make_session
from tests.cluster.nodes import free_ports
from tests.processes import until
from tests.silence import silent_server


@pytest.fixture
async def stores(engines: Embedded) -> AsyncIterator[Stores]:
    async with open_stores(postgres_url=engines.postgres_dsn, redis_url=engines.redis_url, pool_size=3) as opened:
        yield opened


async def test_figures_of_both_servers(stores: Stores) -> None:
    health = await stores.health()
    assert (health.ok, health.serves, health.swept_at) == (True, True, None)
    postgres, redis = health.backends["postgres"], health.backends["redis"]
    assert (postgres.ok, postgres.problem, postgres.role, postgres.schema) == (True, None, "convostore_app", HEAD)
    assert (postgres.pool_size, postgres.bypassed) == (3, None)
    assert 0 < (postgres.connections or 0) <= 3
    assert str(postgres.version).startswith("18")
    assert (redis.ok, redis.problem, redis.bypassed) == (True, None, False)
    assert str(redis.version).startswith("Valkey ")
    assert min(postgres.latency or 0, redis.latency or 0) > 0


async def test_bound_stores_are_as_well_as_those_they_came_from(stores: Stores) -> None:
    assert (await stores.for_tenant(uuid4()).health()).ok


@pytest.mark.parametrize(
    ("wrong", "told"), [("nobody:wrong@", "password"), ("nobody@", "password"), (":secret@", "password")]
)
async def test_a_wrong_password_of_the_hot_tier_is_told_and_sessions_are_served(
    engines: Embedded, wrong: str, told: str
) -> None:
    url = engines.redis_url.replace("unix://", f"unix://{wrong}")
    async with open_stores(postgres_url=engines.postgres_dsn, redis_url=url) as stores:
        session = make_session(uuid4())
        await stores.sessions.save(session)
        assert await stores.sessions.get(session.session_id) == session
        health = await stores.health()
    assert (health.ok, health.serves) == (False, True)
    assert told in str(health.backends["redis"].problem)
    assert "secret" not in str(health)


async def test_a_hot_tier_that_is_bypassed_is_told() -> None:
    (port,) = free_ports(1)
    async with open_stores(ephemeral=True, redis_url=f"redis://127.0.0.1:{port}", embedded=True) as stores:
        for _ in range(20):
            await stores.sessions.get(uuid4())
        health = await stores.health()
    assert health.backends["redis"].problem == "Nothing listens at the host and port of the Redis URL."
    assert health.backends["postgres"].ok


async def test_a_role_that_is_not_the_application_s_is_a_problem(engines: Embedded) -> None:
    async with await create_pool(engines.postgres_dsn, role="convostore_maintenance") as pool:
        report = (await PostgresConfigStore(pool)._health())["postgres"]
    assert not report.ok
    assert "convostore_maintenance" in str(report.problem)


async def test_a_silent_server_is_told_within_the_deadline() -> None:
    async with silent_server() as port, create_client(f"redis://127.0.0.1:{port}") as client:
        store = RedisSessionStore(client, timeout=0.2)
        report = (await store._health())["redis"]
        await store.aclose()
    assert (report.ok, report.latency) == (False, None)
    assert "in time" in str(report.problem)


async def test_after_the_end_nothing_is_well(engines: Embedded) -> None:
    async with open_stores(postgres_url=engines.postgres_dsn, redis_url=engines.redis_url) as stores:
        pass
    health = await stores.health()
    assert (health.ok, health.serves) == (False, False)
    assert {report.problem for report in health.backends.values()} == {
        "The stores are closed; open_stores() opens them again."
    }


async def test_a_pool_that_cannot_serve_is_refused_when_opening(engines: Embedded) -> None:
    connection = await asyncpg.connect(engines.postgres_dsn)
    await connection.execute("CREATE ROLE unentitled LOGIN")
    try:
        with pytest.raises(StoreError):
            async with open_stores(
                postgres_url=engines.postgres_dsn.replace("//postgres@", "//unentitled@"), redis_url=engines.redis_url
            ):
                pass
    finally:
        await connection.execute("DROP ROLE unentitled")
        await connection.close()


async def test_the_sweeper_tells_when_it_last_finished() -> None:
    async with open_stores(backend="memory", sweep_every=0.01) as stores:
        await until(lambda: stores._sweeps.last is not None, "it has swept")
        health = await stores.health()
    assert health.swept_at is not None
    assert health == Health(ok=True, serves=True, backends=health.backends, swept_at=health.swept_at)
    assert health.backends == {"memory": BackendHealth(ok=True, latency=health.backends["memory"].latency)}


async def test_every_kind_of_store_knows_its_backend(engines: Embedded) -> None:
    async with await create_pool(engines.postgres_dsn) as pool, create_client(engines.redis_url) as client:
        assert set(await PostgresSessionStore(pool)._health()) == {"postgres"}
        store = RedisSessionStore(client)
        assert set(await store._health()) == {"redis"}
        await store.aclose()
