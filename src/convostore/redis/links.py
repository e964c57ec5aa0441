"""Links to the server that holds a key: through the pool of one server, or to the nodes of a cluster.

The driver's own ways on a cluster are not taken: it sends a command again when only its answer was lost, fails calls
when all connections are in use, and closes those of other calls when a slot has moved.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from math import inf
from typing import Any, TypeAlias, TypeVar, cast
from weakref import WeakKeyDictionary

import redis.asyncio as aio
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from convostore.errors import ConnectionError
from convostore.redis.scripts import Script

T = TypeVar("T")

Client: TypeAlias = "aio.Redis | RedisCluster"
"""A client of redis-py that returns bytes."""

Command: TypeAlias = "tuple[Any, ...]"
"""A command's name or a script, then its key, then its other arguments."""

_REDIRECTIONS = 5
"""How often a key is followed within a call: more than two only happen while a slot changes hands."""

_PATIENCE = 0.1
"""After how many seconds without an answer a call that is given up casts doubt on the node."""

_REFRESH_EVERY = 0.1
_REFRESH_TIMEOUT = 0.5

_limits: WeakKeyDictionary[RedisCluster, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()
"""How many connections to each node of a cluster are free, for all stores that share a client."""


class Link:
    """A connection to a server, for one user at a time.

    Args:
        connection: the driver's connection.
        asking: whether the keys are on their way to this server, which then wants to be told that one knows.
    """

    def __init__(self, connection: Any, *, asking: bool = False) -> None:
        self.connection = connection
        self._asking = asking

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands together; return for each what was answered, which may be a `ResponseError`."""
        told: list[Command] = [part for each in commands for part in ((("ASKING",), each) if self._asking else (each,))]
        await self.connection.send_packed_command(self.connection.pack_commands(told))
        answers = [await self._answer() for _ in told]
        return answers[1::2] if self._asking else answers

    async def ask(self, *command: Any) -> Any:
        """Send a command and return its answer, or raise it if it is an error."""
        (answer,) = await self.exchange([command])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def run(self, script: Script, key: str, *arguments: Any) -> Any:
        """Run a script, and load it if the server does not know it."""
        try:
            return await self.ask(*script.by_hash(key, *arguments))
        except NoScriptError:
            return await self.ask(*script.by_text(key, *arguments))

    async def info(self, *sections: str) -> dict[str, str]:
        """Return what the server says of itself."""
        text = bytes(await Link(self.connection).ask("INFO", *sections)).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    async def _answer(self) -> Any:
        try:
            return await self.connection.read_response(disable_decoding=True)
        except ResponseError as error:
            if isinstance(error, ReadOnlyError):
                # Another server is the primary now; whoever uses the connection next shall look for it.
                self.connection.mark_for_reconnect()
            return error


class Servers(ABC):
    """The servers on which the keys are."""

    in_order: bool
    """Whether all keys are on one server, which runs what is sent together in order."""
    identity_lasts: float
    """For how many seconds a server that a link leads to is certainly the primary that it was, or another one."""

    @abstractmethod
    async def located(self, keys: Iterable[str]) -> list[Any]:
        """Return the node that holds each key."""

    @abstractmethod
    async def primaries(self) -> list[Any]:
        """Return all nodes that hold keys."""

    @abstractmethod
    def link(self, node: Any, *, asking: bool = False) -> AbstractAsyncContextManager[Link]:
        """Return a link to a node for the duration of a block; waits while all of them are in use."""

    @abstractmethod
    async def _followed(self, error: AskError) -> tuple[Any, bool]:
        """Return the node to which a redirection leads, and whether to tell it that one asks."""

    async def on(self, key: str, work: Callable[[Link], Awaitable[T]]) -> T:
        """Do work on a link to the server that holds a key; do it again where it leads to if the key has moved."""
        (node,), asking = await self.located([key]), False
        for left in reversed(range(_REDIRECTIONS)):
            try:
                async with self.link(node, asking=asking) as link:
                    return await work(link)
            except AskError as error:
                if not left:
                    raise
                node, asking = await self._followed(error)
        raise AssertionError("unreachable")

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands to the servers that hold their keys, to all of them at once.

        Those for one server are run in order. A redirected command was not run, so it is sent again.

        Returns:
            What each command was answered, or the error that it met.
        """
        nodes = await self.located([key_of(command) for command in commands])
        answers: list[Any] = [None] * len(commands)
        due: dict[tuple[Any, bool], list[int]] = {}
        for at, node in enumerate(nodes):
            due.setdefault((node, False), []).append(at)
        for _ in range(_REDIRECTIONS):
            parts = [self._exchanged(*route, [commands[at] for at in part]) for route, part in due.items()]
            answered = [await parts[0]] if len(parts) == 1 else await asyncio.gather(*parts)
            again: dict[tuple[Any, bool], list[int]] = {}
            for part, found in zip(due.values(), answered, strict=True):
                for at, answer in zip(part, found, strict=True):
                    answers[at] = answer
                    if isinstance(answer, AskError):
                        again.setdefault(await self._followed(answer), []).append(at)
            if not again:
                break
            due = again
        return answers

    async def everywhere(self, work: Callable[[Link], Awaitable[T]]) -> list[T]:
        """Do work on a link to each server that holds keys, on all of them at once."""

        async def on(node: Any) -> T:
            async with self.link(node) as link:
                return await work(link)

        done = await asyncio.gather(*(on(node) for node in await self.primaries()), return_exceptions=True)
        for found in done:
            if isinstance(found, BaseException):
                raise found
        return cast("list[T]", done)

    async def _exchanged(self, node: Any, asking: bool, commands: list[Command]) -> list[Any]:
        try:
            async with self.link(node, asking=asking) as link:
                return await link.exchange(commands)
        except (RedisError, OSError) as error:
            return [error] * len(commands)


class OneServer(Servers):
    """A server behind a pool, which may find it anew by asking sentinels."""

    in_order = True
    # A promotion ends the connections: by a sentinel, which closes them, or because the server is another process.
    identity_lasts = inf

    def __init__(self, client: aio.Redis) -> None:
        self._pool: Any = client.connection_pool

    async def located(self, keys: Iterable[str]) -> list[Any]:
        return [None for _ in keys]

    async def primaries(self) -> list[Any]:
        return [None]

    @asynccontextmanager
    async def link(self, node: Any, *, asking: bool = False) -> AsyncIterator[Link]:
        connection = await self._pool.get_connection()
        try:
            yield Link(connection, asking=asking)
        except ResponseError:
            raise
        except BaseException:
            # An answer may still be under way: the next user must not take it for its own.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self._pool.release(connection)

    async def _followed(self, error: AskError) -> tuple[Any, bool]:
        raise ConnectionError("The server is part of a cluster: its URL begins with redis+cluster://.", code="MOVED")


class Cluster(Servers):
    """The nodes of a cluster."""

    in_order = False
    # A node's connections outlive its demotion. But one that lost writes by it is not the primary again before its
    # successor was found dead, which takes cluster-node-timeout (15 s by default).
    identity_lasts = 1.0

    def __init__(self, client: RedisCluster) -> None:
        self._client = client
        self._limits = _limits.setdefault(client, {})
        self._suspect: str | None = None
        self._refreshed_at = -inf

    async def located(self, keys: Iterable[str]) -> list[Any]:
        slots = (await self._topology()).slots_cache
        found = [slots.get(key_slot(key.encode())) for key in keys]
        if not all(found):
            self._suspect = ""
            raise ConnectionError("No node of the cluster serves the key.", code="CLUSTERDOWN")
        return [nodes[0] for nodes in found]

    async def primaries(self) -> list[Any]:
        return list(dict.fromkeys(nodes[0] for nodes in (await self._topology()).slots_cache.values()))

    @asynccontextmanager
    async def link(self, node: Any, *, asking: bool = False) -> AsyncIterator[Link]:
        # One connection is left to the driver, which asks for the topology.
        limit = self._limits.setdefault(node.name, asyncio.Semaphore(max(1, node.max_connections - 1)))
        async with limit:
            connection = node.acquire_connection()
            began = time.monotonic()
            try:
                await node.disconnect_if_needed(connection)
                await _ready(connection)
                yield Link(connection, asking=asking)
            except ResponseError:
                raise
            except BaseException as error:
                if isinstance(error, RedisError | OSError) or time.monotonic() - began > _PATIENCE:
                    self._suspect = node.name
                await connection.disconnect(nowait=True)
                raise
            finally:
                if self._client._initialize or self._client.nodes_manager.nodes_cache.get(node.name) is not node:
                    # The client was closed or the node has left the cluster; nobody else will close the connection.
                    connection.mark_for_reconnect()
                try:
                    await node.disconnect_if_needed(connection)
                finally:
                    node.release(connection)

    async def _topology(self) -> Any:
        """Return the driver's map of slots; look again at the cluster if a node has become suspect."""
        try:
            _ = await self._client.initialize()
        except (RedisClusterException, RedisError, OSError) as error:
            raise ConnectionError("No node of the cluster could be reached.", code="cluster") from error
        nodes: Any = self._client.nodes_manager
        if self._suspect is not None and time.monotonic() - self._refreshed_at > _REFRESH_EVERY:
            suspect, self._suspect, self._refreshed_at = self._suspect, None, time.monotonic()
            try:
                async with asyncio.timeout(_REFRESH_TIMEOUT):
                    await nodes.initialize(last_failed_node_name=suspect)
            except (RedisClusterException, RedisError, OSError, TimeoutError):
                self._suspect = suspect
        return nodes

    async def _followed(self, error: AskError) -> tuple[Any, bool]:
        nodes: Any = self._client.nodes_manager
        moved = isinstance(error, MovedError)
        if moved:
            nodes.slots_cache.setdefault(error.slot_id, [])
            await nodes.move_slot(error)
        elif nodes.get_node(error.host, error.port) is None:
            # A node that has no slot yet is in nobody's map.
            node = ClusterNode(error.host, error.port, "primary", **nodes.connection_kwargs)
            nodes.set_nodes(nodes.nodes_cache, {node.name: node})
        return nodes.get_node(error.host, error.port), not moved


async def _ready(connection: Any) -> None:
    """Connect; connect again if the server has closed the connection or something is left in it."""
    await connection.connect()
    try:
        left = await connection.can_read()
    except (RedisError, OSError):
        left = True
    if left:
        await connection.disconnect(nowait=True)
        await connection.connect()


def servers_of(client: Client) -> Servers:
    """Return the servers that a client leads to."""
    return Cluster(client) if isinstance(client, RedisCluster) else OneServer(client)


def key_of(command: Command) -> str:
    """Return the key of a command."""
    key: str = command[3] if command[0] in ("EVALSHA", "EVAL") else command[1]
    return key
