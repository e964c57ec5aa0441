"""Connections to the nodes of a cluster: bounded in number, never reused with a reply left, closed with the client."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio.cluster import RedisCluster
from redis.crc import key_slot

from convostore.errors import ConnectionError, ValidationError
from convostore.models import Session
from convostore.redis import RedisSessionStore, check_eviction, create_client, keys
from convostore.redis.connection import Command, Connection
from convostore.testing.factories import make_session
from tests.cluster.nodes import Cluster, Node

pytestmark = pytest.mark.usefixtures("dropped_connections")


NAME = "few-connections"


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[RedisCluster]:
    async with create_client(f"{cluster.url}?client_name={NAME}", max_connections=2) as opened:
        yield opened


@pytest.fixture
def store(client: RedisCluster) -> RedisSessionStore:
    return RedisSessionStore(client, timeout=30.0)


async def primary_of(cluster: Cluster, key: str) -> Node:
    """Return the primary that holds a key."""
    slot = key_slot(key.encode())
    for node in await cluster.primaries():
        for first, last, (_, port, *_), *_ in await node.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last and port == node.port:
                return node
    raise LookupError(key)


async def connections_named(name: str, cluster: Cluster) -> list[int]:
    """Return how many connections of a client's name each node has."""
    return [str(await node.ask("CLIENT", "LIST")).count(f"name={name} ") for node in cluster.nodes]


async def session_apart(cluster: Cluster) -> tuple[Session, Node]:
    """Return a session whose channel pointer is on another primary than itself, and that primary."""
    while True:
        session = make_session(uuid4(), user_channel_id=str(uuid4()))
        home = await primary_of(cluster, keys.bucket(session.session_id))
        other = await primary_of(cluster, keys.channel_of(session))
        if other is not home:
            return session, other


async def test_a_thousand_concurrent_calls_wait_for_few_connections(cluster: Cluster, client: RedisCluster) -> None:
    stores = [RedisSessionStore(client, timeout=30.0) for _ in range(2)]
    tenant, agent = uuid4(), uuid4()
    sessions = [make_session(tenant, agent_id=agent) for _ in range(1_000)]
    await asyncio.gather(*(stores[n % 2].save(session) for n, session in enumerate(sessions)))
    assert await asyncio.gather(*(stores[n % 2].get(each.session_id) for n, each in enumerate(sessions))) == sessions
    assert len(await stores[0].list_by_agent(tenant, agent, limit=1_000)) == 1_000
    # Two for calls, and one with which the driver asks for the topology.
    assert 2 <= max(await connections_named(NAME, cluster)) <= 3


async def test_cancelled_calls_leave_no_reply_behind(store: RedisSessionStore) -> None:
    sessions = [make_session(uuid4()) for _ in range(40)]
    await asyncio.gather(*map(store.save, sessions))
    for _ in range(15):
        calls = [asyncio.create_task(store.get(session.session_id)) for session in sessions]
        lists = [asyncio.create_task(store.list_by_agent(each.tenant_id, each.agent_id)) for each in sessions[:5]]
        for _ in range(random.randrange(12)):
            await asyncio.sleep(0)
        for call in (*calls, *lists):
            if random.random() < 0.7:
                call.cancel()
        for session, found in zip(sessions, await asyncio.gather(*calls, return_exceptions=True), strict=True):
            assert found == session or isinstance(found, asyncio.CancelledError)
        await asyncio.gather(*lists, return_exceptions=True)
    assert await asyncio.gather(*(store.get(session.session_id) for session in sessions)) == sessions


async def test_a_list_takes_two_round_trips_to_each_node(
    cluster: Cluster, store: RedisSessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant, agent = uuid4(), uuid4()
    await asyncio.gather(*(store.save(make_session(tenant, agent_id=agent)) for _ in range(100)))
    await store.list_by_agent(tenant, agent)  # Loads its scripts.
    trips: Counter[int] = Counter()
    exchange = Connection.exchange

    async def counted(connection: Connection, commands: Sequence[Command]) -> list[Any]:
        trips[connection.raw.port] += 1
        return await exchange(connection, commands)

    monkeypatch.setattr(Connection, "exchange", counted)
    assert len(await store.list_by_agent(tenant, agent)) == 100
    assert trips == {node.port: 2 for node in await cluster.primaries()}


async def test_scripts_are_loaded_again_on_each_node_after_script_flush(
    cluster: Cluster, store: RedisSessionStore
) -> None:
    sessions = [make_session(uuid4()) for _ in range(10)]
    for _ in range(2):
        await asyncio.gather(*map(store.save, sessions))
        for node in await cluster.primaries():
            await node.ask("SCRIPT", "FLUSH")
    assert all(await asyncio.gather(*(store.delete(session.session_id) for session in sessions)))


async def test_a_session_whose_channel_pointer_is_refused_is_not_saved(
    cluster: Cluster, store: RedisSessionStore
) -> None:
    session, other = await session_apart(cluster)
    await other.ask("CONFIG", "SET", "min-replicas-to-write", 5)
    try:
        with pytest.raises(ConnectionError) as refused:
            await store.save(session)
    finally:
        await other.ask("CONFIG", "SET", "min-replicas-to-write", 0)
    assert (refused.value.code, refused.value.outcome) == ("NOREPLICAS", "not_applied")
    assert await store.get(session.session_id) is None


async def test_a_deletion_whose_channel_pointer_stays_has_an_unknown_outcome(
    cluster: Cluster, store: RedisSessionStore
) -> None:
    session, other = await session_apart(cluster)
    await store.save(session)
    await other.ask("CONFIG", "SET", "min-replicas-to-write", 5)
    try:
        with pytest.raises(ConnectionError) as unsure:
            await store.delete(session.session_id)
    finally:
        await other.ask("CONFIG", "SET", "min-replicas-to-write", 0)
    assert unsure.value.outcome == "unknown"
    assert await store.get(session.session_id) is None
    assert await store.get_by_channel(session.tenant_id, session.channel, session.user_channel_id) is None


async def test_one_primary_that_may_evict_sessions_is_enough_to_refuse(cluster: Cluster, client: RedisCluster) -> None:
    await check_eviction(client)
    store, session = RedisSessionStore(client), make_session(uuid4())
    primary = (await cluster.primaries())[-1]
    await primary.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(ValidationError, match="allkeys-lru"):
            await check_eviction(client)
        with pytest.raises(ValidationError, match="allkeys-lru"):
            await store.save(session)
    finally:
        await primary.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert await store.get(session.session_id) is None


async def test_a_client_of_the_users_own_can_be_used(cluster: Cluster) -> None:
    host = cluster.nodes[0]
    async with RedisCluster(host="127.0.0.1", port=host.port, decode_responses=True) as client:
        store, session = RedisSessionStore(client), make_session(uuid4())
        await store.save(session)
        assert await store.list_by_agent(session.tenant_id, session.agent_id) == [session]


async def test_an_absent_cluster_is_a_retryable_connection_error() -> None:
    async with create_client("redis+cluster://127.0.0.1:1,127.0.0.1:2") as client:
        with pytest.raises(ConnectionError) as gone:
            await RedisSessionStore(client).save(make_session(uuid4()))
        assert (gone.value.code, gone.value.outcome, gone.value.retryable) == ("cluster", "not_applied", True)
        assert await RedisSessionStore(client).health_check() is False


async def test_a_closed_client_opens_no_connection(cluster: Cluster) -> None:
    async with create_client(f"{cluster.url}?client_name=closed") as client:
        store = RedisSessionStore(client)
        assert await store.health_check()
        assert sum(await connections_named("closed", cluster)) >= 3
    with pytest.raises(ConnectionError):
        await store.get(uuid4())
    assert sum(await connections_named("closed", cluster)) == 0
