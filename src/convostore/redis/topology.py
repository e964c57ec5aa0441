"""What the stores rely on in redis-py for clusters, beyond its documented interface: see `driver`.

Tests: tests/cluster/test_driver.py.
"""

from __future__ import annotations

from typing import Any, Self, TypeAlias

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, RedisClusterException, RedisError

from convostore.call.metrics import PoolUse
from convostore.redis.driver import RawConnection, abort, close_if_reset, close_when_released

Node: TypeAlias = ClusterNode
"""A node of a cluster, with its connections."""


class Topology:
    """Which nodes hold which slots, as a cluster's client knows it (`nodes_manager`), and the connections to them."""

    def __init__(self, client: RedisCluster) -> None:
        self.client: Any = client

    async def load(self) -> None:
        """Ask the cluster for its topology, unless the client has it.

        Relies on: `initialize` costs nothing once it has succeeded, and a client may be initialized again.

        Raises:
            RedisClusterException: no node answers.
        """
        try:
            await self.client.initialize()
        except (RedisError, OSError) as error:
            raise RedisClusterException("no node answers") from error

    async def refresh(self, suspect: str) -> None:
        """Ask the cluster again, a suspect node last.

        Relies on: `nodes_manager.initialize` replaces the map, keeps the `ClusterNode` of a node that stays, and asks
        `last_failed_node_name` last.

        Raises:
            RedisClusterException: no node answers.
        """
        await self._nodes.initialize(last_failed_node_name=suspect)

    def primary_of(self, key: str) -> Node | None:
        """Return the node that holds a key, or None if none is known.

        Relies on: `slots_cache` maps a slot to its primary followed by its replicas.
        """
        nodes = self._nodes.slots_cache.get(key_slot(key.encode()))
        return nodes[0] if nodes else None

    def primaries(self) -> list[Node]:
        """Return all nodes that hold slots. Relies on `slots_cache`, as `primary_of` does."""
        return list(dict.fromkeys(nodes[0] for nodes in self._nodes.slots_cache.values()))

    def use(self) -> PoolUse:
        """Return how the connections to all nodes are used.

        Relies on: a node has the connections it has opened as `_connections`, and those that are idle as `_free`.
        """
        nodes: list[Any] = list(self._nodes.nodes_cache.values())
        idle = sum(len(node._free) for node in nodes)
        opened = sum(len(node._connections) for node in nodes)
        return PoolUse(opened - idle, idle, sum(node.max_connections for node in nodes))

    async def follow_moved(self, error: MovedError) -> Node:
        """Note that a slot has moved, and return the node to which.

        Relies on: `move_slot` changes the map for one slot and adds a node that it does not know; it needs an entry.
        """
        self._nodes.slots_cache.setdefault(error.slot_id, [])
        await self._nodes.move_slot(error)
        return self._node(error)

    def follow_ask(self, error: AskError) -> Node:
        """Return the node that is importing a slot.

        Relies on: `set_nodes` adds a node to `nodes_cache`. A node without slots is in no map yet.
        """
        if self._nodes.get_node(error.host, error.port) is None:
            node = ClusterNode(error.host, error.port, "primary", **self._nodes.connection_kwargs)
            self._nodes.set_nodes(self._nodes.nodes_cache, {node.name: node})
        return self._node(error)

    def acquire(self, node: Node) -> RawConnection:
        """Return a connection to a node, which may have to be connected.

        Relies on: `acquire_connection` opens up to `max_connections` and reuses those that were released.
        """
        return node.acquire_connection()

    async def connect(self, node: Node, connection: RawConnection) -> None:
        """Connect; connect again if the server has closed the socket or a reply is left in it.

        Relies on: `disconnect_if_needed` closes a connection that was marked while it was idle; `can_read` is true
        or raises if the next reply would not be that of the next command.
        """
        await node.disconnect_if_needed(connection)
        await close_if_reset(connection)
        await connection.connect()
        try:
            left = await connection.can_read()
        except (RedisError, OSError):
            left = True
        if left:
            await abort(connection)
            await connection.connect()

    async def release(self, node: Node, connection: RawConnection) -> None:
        """Give a connection back to its node; close it if the client was closed or the node has left the cluster.

        Relies on: `_initialize` is true after `aclose`, and a node that has left is not in `nodes_cache`; the driver
        does not close its connections that are in use then.
        """
        if self.client._initialize or self._nodes.nodes_cache.get(node.name) is not node:
            close_when_released(connection)
        try:
            await node.disconnect_if_needed(connection)
        finally:
            node.release(connection)

    @property
    def _nodes(self) -> Any:
        return self.client.nodes_manager

    def _node(self, error: AskError) -> Node:
        node: Node = self._nodes.get_node(error.host, error.port)
        return node


def capacity_of(node: Node) -> int:
    """Return how many connections callers may hold at a time: one is left to the driver, to ask for the topology.

    Relies on: beyond `max_connections`, `acquire_connection` raises instead of waiting.
    """
    return max(1, node.max_connections - 1)


class ClusterClient(RedisCluster):
    """A client that can be opened while the cluster is down, as that of one server can, and stays closed.

    Relies on: `__aenter__` counts users by `_increment_usage` before it initializes, and every use calls `initialize`.
    """

    _closed = False

    async def __aenter__(self) -> Self:
        await self._increment_usage()
        return self

    async def initialize(self, *arguments: Any, **named: Any) -> Self:
        if self._closed:
            raise RedisClusterException("The client is closed.")
        _ = await super().initialize(*arguments, **named)
        return self

    async def aclose(self) -> None:
        self._closed = True
        await super().aclose()
