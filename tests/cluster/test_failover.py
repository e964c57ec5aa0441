"""Failovers of a cluster and of a service under sentinels, planned and not, while sessions are saved."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import RedisSessionStore, create_client
from convostore.tiered import TieredSessionStore
from tests.cluster.nodes import Cluster, Node, eventually, running_service
from tests.cluster.working import working
from tests.processes import private_directory
from tests.redis.checking import Keys, contents, entries, expected_of, without_pointers


@asynccontextmanager
async def opened(kind: str, url: str, engines: Embedded) -> AsyncIterator[SessionStore]:
    """Open a store whose Redis or Valkey is at a URL."""
    async with await create_pool(engines.postgres_dsn) as pool, create_client(url) as client:
        if kind == "redis":
            store = RedisSessionStore(client)
            yield store
            await store.aclose()
        else:
            yield TieredSessionStore(client, PostgresSessionStore(pool))


async def fail_over(cluster: Cluster, primary: Node) -> None:
    """Let a replica take its primary's place, in agreement."""
    replica = await cluster.replica_of(primary)
    await replica.ask("CLUSTER", "FAILOVER")

    async def took_over() -> bool:
        return bool((await replica.info("replication"))["role"] == "master")

    await eventually(took_over, "the replica is the primary")
    await eventually(cluster.is_well, "the cluster is well")


async def check_consistency(nodes: list[Node]) -> None:
    """Compare every index of every primary with what the sessions ask for."""
    values: dict[str, bytes] = {}
    found: Keys = {}
    for node in nodes:
        async with Redis(port=node.port, protocol=2) as client:
            more_values, more_found = await contents(client)
        values |= {key: value for key, value in more_values.items() if ":copy:" not in key}
        found |= more_found
    expected = expected_of(values)
    assert entries(without_pointers(found)) == entries(without_pointers(expected))


@pytest.mark.parametrize("kind", ["redis", "tiered"])
async def test_a_planned_failover_loses_nothing(cluster: Cluster, engines: Embedded, kind: str) -> None:
    async with opened(kind, cluster.url, engines) as store:
        async with working(store) as work:
            for primary in await cluster.primaries():
                await fail_over(cluster, primary)
                await work.more(30)
        assert await work.lost() == []


@pytest.mark.parametrize("kind", ["redis", "tiered"])
async def test_after_a_killed_primary_the_others_go_on(cluster: Cluster, engines: Embedded, kind: str) -> None:
    async with opened(kind, cluster.url, engines) as store:
        async with working(store) as work:
            victim = (await cluster.primaries())[0]
            victim.kill()

            async def replaced() -> bool:
                return len(await cluster.primaries()) == 3

            await eventually(replaced, "a replica has taken over")
            await eventually(cluster.is_well, "the cluster is well")
            await work.more(30)
        if kind == "tiered":
            assert await work.lost() == []
        victim.start()
        await eventually(cluster.is_well, "the cluster is well")
        await check_consistency(await cluster.primaries())


@pytest.fixture
async def service() -> AsyncIterator[tuple[str, list[Node]]]:
    """A primary and its replica under three sentinels."""
    with private_directory() as path:
        async with running_service(path) as running:
            yield running


@pytest.mark.parametrize("kind", ["redis", "tiered"])
async def test_under_sentinels_the_replica_of_a_killed_primary_takes_over(
    service: tuple[str, list[Node]], engines: Embedded, kind: str
) -> None:
    url, (primary, replica) = service
    async with opened(kind, url, engines) as store:
        async with working(store) as work:
            primary.kill()

            async def took_over() -> bool:
                return bool((await replica.info("replication"))["role"] == "master")

            await eventually(took_over, "the replica is the primary")
            await work.more(30)
        if kind == "tiered":
            assert await work.lost() == []
        await check_consistency([replica])
