"""What the stores rely on in redis-py's cluster client and sentinels, one test per reliance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.crc import key_slot
from redis.exceptions import AskError, MaxConnectionsError, MovedError, ReadOnlyError, RedisClusterException

from convostore.redis import create_client, driver, keys
from convostore.redis.topology import Node, Topology, capacity_of
from tests.cluster import nodes
from tests.cluster.nodes import Cluster, free_ports

pytestmark = pytest.mark.usefixtures("dropped_connections")

KEY = f"{keys.BUCKETS[0]}key"


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[RedisCluster]:
    """A client with two connections to each node, and one more for the driver."""
    async with create_client(cluster.url, max_connections=2) as opened:
        yield opened


@pytest.fixture
async def topology(client: RedisCluster) -> Topology:
    """The topology as that client knows it."""
    topology = Topology(client)
    await topology.load()
    return topology


def primary_of(topology: Topology, key: str = KEY) -> Node:
    node = topology.primary_of(key)
    assert node is not None
    return node


def other_than(topology: Topology, node: Node) -> Node:
    return next(each for each in topology.primaries() if each is not node)


async def exchanged(topology: Topology, node: Node, *command: object) -> Any:
    """Return a node's reply to a command."""
    connection = topology.acquire(node)
    try:
        await topology.connect(node, connection)
        (reply,) = await driver.exchange(connection, [command])
        return reply
    finally:
        await topology.release(node, connection)


async def times_asked(server: nodes.Node) -> int:
    """Return how often a server was asked for the topology."""
    counted: Any = (await server.info("commandstats")).get("cmdstat_cluster|slots", {"calls": 0})
    return int(counted["calls"])


async def test_a_topology_is_loaded_once(cluster: Cluster, topology: Topology) -> None:
    before = [await times_asked(server) for server in cluster.nodes]
    await topology.load()
    assert [await times_asked(server) for server in cluster.nodes] == before


async def test_the_nodes_tell_how_they_are_used(topology: Topology) -> None:
    before, node = topology.use(), primary_of(topology)
    acquired = topology.acquire(node)
    await topology.connect(node, acquired)
    assert topology.use().used == before.used + 1
    await topology.release(node, acquired)
    assert topology.use().used == before.used
    assert topology.use().idle >= 1
    assert topology.use().most == 6 * node.max_connections


async def test_a_refresh_asks_a_suspect_last_and_keeps_nodes_that_stay(cluster: Cluster, topology: Topology) -> None:
    suspect, known = cluster.nodes[0], {id(node) for node in topology.primaries()}
    before = [await times_asked(server) for server in cluster.nodes]
    for _ in range(10):
        await topology.refresh(f"127.0.0.1:{suspect.port}")
    after = [await times_asked(server) for server in cluster.nodes]
    assert after[0] == before[0]
    assert sum(after) == sum(before) + 10
    assert {id(node) for node in topology.primaries()} == known


async def test_the_first_node_of_a_slot_is_its_primary(cluster: Cluster, topology: Topology) -> None:
    assert {node.port for node in topology.primaries()} == {node.port for node in await cluster.primaries()}
    for bucket in keys.BUCKETS:
        assert await exchanged(topology, primary_of(topology, bucket), "GET", f"{bucket}nothing") is None


async def test_a_moved_slot_is_noted_whatever_was_known_of_it(client: RedisCluster, topology: Topology) -> None:
    right, slot = primary_of(topology), key_slot(KEY.encode())
    wrong = other_than(topology, right)
    client.nodes_manager.slots_cache.pop(slot)
    assert topology.primary_of(KEY) is None
    assert await topology.follow_moved(MovedError(f"{slot} 127.0.0.1:{wrong.port}")) is wrong
    assert topology.primary_of(KEY) is wrong
    moved = await exchanged(topology, wrong, "GET", KEY)
    assert isinstance(moved, MovedError)
    assert await topology.follow_moved(moved) is right
    assert topology.primary_of(KEY) is right


def test_a_node_that_holds_no_slot_yet_is_known_after_ask(topology: Topology) -> None:
    (port,) = free_ports(1)
    ask, before = AskError(f"{key_slot(KEY.encode())} 127.0.0.1:{port}"), primary_of(topology)
    node = topology.follow_ask(ask)
    assert (node.port, node.max_connections) == (port, before.max_connections)
    assert topology.follow_ask(ask) is node
    assert primary_of(topology) is before


async def test_a_node_reuses_connections_and_refuses_more_than_its_maximum(topology: Topology) -> None:
    node = primary_of(topology)
    assert capacity_of(node) == 2
    acquired = [topology.acquire(node) for _ in range(3)]
    with pytest.raises(MaxConnectionsError):
        topology.acquire(node)
    for connection in acquired:
        await topology.release(node, connection)
    assert topology.acquire(node) in acquired


@pytest.mark.parametrize("fault", ["closed by the server", "a reply is left", "marked for reconnect"])
async def test_a_node_replaces_a_socket_with_a_reply_left_or_closed_or_marked(
    cluster: Cluster, topology: Topology, fault: str
) -> None:
    node = primary_of(topology)
    (server,) = (each for each in cluster.nodes if each.port == node.port)
    connection = topology.acquire(node)
    await topology.connect(node, connection)
    (number,) = await driver.exchange(connection, [("CLIENT", "ID")])
    if fault == "closed by the server":
        await server.ask("CLIENT", "KILL", "ID", number)
    elif fault == "a reply is left":
        await connection.send_packed_command(connection.pack_commands([("ECHO", "left")]))
        await server.ask("PING")
    else:
        driver.close_when_released(connection)
    await topology.connect(node, connection)
    echo, another = await driver.exchange(connection, [("ECHO", "mine"), ("CLIENT", "ID")])
    await topology.release(node, connection)
    assert echo == b"mine"
    assert another != number


@pytest.mark.parametrize("why", ["the client was closed", "the node has left"])
async def test_release_closes_connections_of_a_closed_client_and_of_a_node_that_left(
    client: RedisCluster, topology: Topology, why: str
) -> None:
    node = primary_of(topology)
    connection = topology.acquire(node)
    await topology.connect(node, connection)
    if why == "the client was closed":
        await client.aclose()
        await topology.connect(node, connection)
    else:
        client.nodes_manager.nodes_cache.pop(node.name)
    assert connection.is_connected
    await topology.release(node, connection)
    assert not connection.is_connected
    await node.disconnect()


async def test_a_cluster_client_is_opened_without_a_cluster_and_stays_closed() -> None:
    async with create_client("redis+cluster://127.0.0.1:1") as client:
        with pytest.raises(RedisClusterException):
            await Topology(client).load()
    with pytest.raises(RedisClusterException, match="closed"):
        await Topology(client).load()


async def test_under_sentinels_a_readonly_reply_leaves_the_connection(service: tuple[str, list[nodes.Node]]) -> None:
    url, (primary, _) = service
    async with create_client(url) as client:
        connection = await driver.acquire(client)
        socket = driver.socket_of(connection)
        await primary.ask("REPLICAOF", "127.0.0.1", 1)
        refused, echo = await driver.exchange(connection, [("SET", KEY, ""), ("ECHO", "mine")])
        assert isinstance(refused, ReadOnlyError)
        assert echo == b"mine"
        assert driver.socket_of(connection) is socket
        await driver.release(client, connection)


async def test_callers_of_a_sentinels_pool_wait_and_its_sentinels_are_closed_with_it(
    service: tuple[str, list[nodes.Node]],
) -> None:
    url, _ = service
    sentinel = nodes.Node(Path(), (), int(url.partition("127.0.0.1:")[2].partition(",")[0]))

    async def of_the_driver() -> int:
        listed = str(await sentinel.ask("CLIENT", "LIST"))
        return listed.count("lib-name=redis-py") - 1

    async with create_client(url, max_connections=1) as client:
        assert isinstance(client, Redis)
        connection = await driver.acquire(client)
        waiting = asyncio.create_task(driver.acquire(client))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        await driver.release(client, connection)
        assert await waiting is connection
        await driver.release(client, connection)
        assert await of_the_driver() == 1
    assert await of_the_driver() == 0
