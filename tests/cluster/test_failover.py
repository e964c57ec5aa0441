"""Planned and unplanned failovers, of a cluster and under sentinels, while sessions are saved."""

from __future__ import annotations

import os
import signal
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.errors import ConnectionError
from convostore.redis import RedisSessionStore, create_client
from convostore.testing.factories import make_session
from tests.cluster.nodes import Cluster, Node, eventually
from tests.cluster.working import histories_checked, opened, working
from tests.redis.checking import Keys, contents, entries, expected_of, without_pointers

pytestmark = pytest.mark.usefixtures("dropped_connections")


async def is_primary(node: Node) -> bool:
    """Return whether a node is a primary now."""
    return bool((await node.info("replication"))["role"] == "master")


async def fail_over(cluster: Cluster, primary: Node) -> Node:
    """Perform a planned failover, and return the new primary."""
    replica = await cluster.replica_of(primary)
    await replica.ask("CLUSTER", "FAILOVER")
    await eventually(lambda: is_primary(replica), "the replica is the primary")
    await eventually(cluster.is_healthy, "the cluster is healthy")
    return replica


async def check_consistency(nodes: list[Node]) -> None:
    """Compare the indexes of all primaries with those that follow from the stored sessions."""
    values: dict[str, bytes] = {}
    found: Keys = {}
    for node in nodes:
        async with Redis(port=node.port, protocol=2) as client:
            # Copies and guards expire: they must not do so during the check.
            for kind in ("copy", "guard"):
                async for name in client.scan_iter(match=f"*:{kind}:*"):
                    await client.delete(name)
            more_values, more_found = await contents(client)
        values |= more_values
        found |= more_found
    expected = expected_of(values)
    assert entries(without_pointers(found)) == entries(without_pointers(expected))


async def test_a_planned_failover_loses_nothing(cluster: Cluster, engines: Embedded) -> None:
    async with opened(cluster.url, engines) as stores:
        async with histories_checked(cluster.url, engines), working(stores) as work:
            primary = (await cluster.primaries())[0]
            for _ in ("to the replica", "and back"):
                primary = await fail_over(cluster, primary)
                await work.more(30)
        assert await work.lost(*stores) == []


async def test_a_client_that_was_idle_during_a_failover_follows_redirections(cluster: Cluster) -> None:
    async with create_client(cluster.url) as client:
        store, tenant, agent = RedisSessionStore(client), uuid4(), uuid4()
        sessions = [make_session(tenant, agent_id=agent) for _ in range(20)]
        for session in sessions:
            await store.save(session)
        await fail_over(cluster, (await cluster.primaries())[0])
        assert len(await store.list_by_agent(tenant, agent)) == 20
        for session in sessions:
            await store.save(session)


async def test_after_a_crash_of_a_primary_its_replica_takes_over(cluster: Cluster, engines: Embedded) -> None:
    async with opened(cluster.url, engines) as stores:
        async with histories_checked(cluster.url, engines), working(stores) as work:
            victim = (await cluster.primaries())[0]
            replica = await cluster.replica_of(victim)
            victim.kill()
            await eventually(lambda: is_primary(replica), "the replica is the primary")
            await work.more(30)
            victim.start()
            await eventually(cluster.is_healthy, "the cluster is healthy")
        assert await work.lost(stores.tiered) == []
    await check_consistency(await cluster.primaries())


async def test_a_frozen_primary_is_left_for_its_replica(cluster: Cluster, engines: Embedded) -> None:
    victim = (await cluster.primaries())[0]
    replica = await cluster.replica_of(victim)
    assert victim.process is not None
    async with opened(cluster.url, engines) as stores:
        async with working(stores) as work:
            os.kill(victim.process.pid, signal.SIGSTOP)
            try:
                await eventually(lambda: is_primary(replica), "the replica is the primary")
                for session_id, (store, _) in list(work.acknowledged.items()):
                    # What the primary acknowledged last may not have reached the replica: an answer is what counts.
                    async def is_answered(store: SessionStore = store, session_id: UUID = session_id) -> bool:
                        try:
                            await store.within(0.5).get(session_id)
                        except ConnectionError:
                            return False
                        return True

                    await eventually(is_answered, "the replica answers")
            finally:
                os.kill(victim.process.pid, signal.SIGCONT)
        assert await work.lost(stores.tiered) == []
    await eventually(cluster.is_healthy, "the cluster is healthy")


async def test_under_sentinels_the_replica_of_a_crashed_primary_takes_over(
    service: tuple[str, list[Node]], engines: Embedded
) -> None:
    url, (primary, replica) = service
    async with opened(url, engines) as stores:
        async with histories_checked(url, engines), working(stores) as work:
            primary.kill()
            await eventually(lambda: is_primary(replica), "the replica is the primary")
            await work.more(30)
        assert await work.lost(stores.tiered) == []
    await check_consistency([replica])
