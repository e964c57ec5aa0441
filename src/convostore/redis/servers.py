"""The servers that hold the keys: one behind a pool, or the nodes of a cluster."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

import redis.asyncio as aio
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import AskError, MovedError, RedisClusterException, RedisError, ResponseError

from convostore.call.metrics import MeasuredSemaphore, Waiting, watch_pool
from convostore.errors import ConnectionError
from convostore.redis import driver, topology
from convostore.redis.connection import Connection
from convostore.redis.driver import Client
from convostore.redis.routing import Servers
from convostore.redis.topology import Node

_PATIENCE = 0.1
"""Seconds without a reply after which a call that is given up makes its node suspect."""

_REFRESH_EVERY = 0.1
"""Seconds between two refreshes of the topology, at least."""

_REFRESH_TIMEOUT = 0.5
"""Seconds that a refresh of the topology may take."""

_limits: WeakKeyDictionary[RedisCluster, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()
"""The free connections to each node of a cluster, shared by all stores on one client."""


class OneServer(Servers):
    """A server behind a pool, whose connections may ask sentinels for the primary."""

    in_order = True
    # A demotion closes the connections: sentinels do, and a process that was restarted has none.
    identity_lasts = inf

    def __init__(self, client: aio.Redis, *, coalesce: bool) -> None:
        super().__init__(client, coalesce=coalesce)
        self._client = client
        self._capacity = driver.connections_of(client)
        self.connections = sys.maxsize if coalesce and self._capacity > 1 else self._capacity
        watch_pool("redis", self, OneServer.client, driver.use_of)

    def client(self) -> aio.Redis:
        """Return the client whose pool is used."""
        return self._client

    async def locate(self, keys: Iterable[str]) -> list[Any]:
        return [None for _ in keys]

    async def primaries(self) -> list[Any]:
        return [None]

    def _capacity_of(self, node: Any) -> int:
        return self._capacity

    @asynccontextmanager
    async def connection(self, node: Any, *, asking: bool = False) -> AsyncIterator[Connection]:
        with Waiting("redis"):
            raw = await driver.acquire(self._client)
        try:
            yield Connection(raw, asking=asking)
        except ResponseError:
            raise
        except BaseException:
            await driver.abort(raw)
            raise
        finally:
            await driver.release(self._client, raw)

    async def _redirected(self, error: AskError) -> tuple[Any, bool]:
        raise ConnectionError("The server is part of a cluster: its URL begins with redis+cluster://.", code="MOVED")


class Cluster(Servers):
    """The nodes of a cluster, found by the client's map of slots."""

    in_order = False
    connections = sys.maxsize
    # Connections outlive a demotion. But a primary that lost writes by it is not promoted again before its successor
    # was found dead, which takes cluster-node-timeout (15 s by default).
    identity_lasts = 1.0

    def __init__(self, client: RedisCluster, *, coalesce: bool) -> None:
        super().__init__(client, coalesce=coalesce)
        self._topology = topology.Topology(client)
        watch_pool("redis", self, Cluster.client, lambda client: topology.Topology(client).use())
        self._limits = _limits.setdefault(client, {})
        self._suspect: str | None = None
        self._refreshed_at = -inf

    def client(self) -> RedisCluster:
        """Return the client whose pools are used."""
        found: RedisCluster = self._topology.client
        return found

    async def locate(self, keys: Iterable[str]) -> list[Any]:
        await self._load()
        found = [self._topology.primary_of(key) for key in keys]
        if not all(found):
            self._suspect = ""
            raise ConnectionError("No node of the cluster serves the key.", code="CLUSTERDOWN")
        return found

    async def primaries(self) -> list[Any]:
        await self._load()
        return list(self._topology.primaries())

    def _capacity_of(self, node: Node) -> int:
        return topology.capacity_of(node)

    @asynccontextmanager
    async def connection(self, node: Node, *, asking: bool = False) -> AsyncIterator[Connection]:
        async with self._limits.setdefault(node.name, MeasuredSemaphore(topology.capacity_of(node))):
            raw, began = self._topology.acquire(node), time.monotonic()
            try:
                with Waiting("redis"):
                    await self._topology.connect(node, raw)
                yield Connection(raw, asking=asking)
            except ResponseError:
                raise
            except BaseException as error:
                if isinstance(error, RedisError | OSError) or time.monotonic() - began > _PATIENCE:
                    self._suspect = node.name
                await driver.abort(raw)
                raise
            finally:
                await self._topology.release(node, raw)

    async def _load(self) -> None:
        """Load the topology if it is not known; refresh it if a node is suspect."""
        await self._topology.load()
        if self._suspect is not None and time.monotonic() - self._refreshed_at > _REFRESH_EVERY:
            suspect, self._suspect, self._refreshed_at = self._suspect, None, time.monotonic()
            try:
                async with asyncio.timeout(_REFRESH_TIMEOUT):
                    await self._topology.refresh(suspect)
            except (RedisClusterException, RedisError, OSError, TimeoutError):
                self._suspect = suspect

    async def _redirected(self, error: AskError) -> tuple[Any, bool]:
        if isinstance(error, MovedError):
            return await self._topology.follow_moved(error), False
        return self._topology.follow_ask(error), True


def servers_of(client: Client, *, coalesce: bool = False) -> Servers:
    """Return the servers that a client leads to; `coalesce` as in `Servers`."""
    if isinstance(client, RedisCluster):
        return Cluster(client, coalesce=coalesce)
    return OneServer(client, coalesce=coalesce)
