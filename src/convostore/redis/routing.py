"""The way of each command to the server that holds its key, on a connection of its own or a shared one.

redis-py's routing on a cluster is not used: it repeats commands whose reply was lost, fails calls when all connections
are in use, and closes the connections of other calls after a redirection. See docs/decisions/0010.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from redis.exceptions import AskError, RedisError

from convostore import supported
from convostore.errors import ConnectionError
from convostore.redis.connection import Command, Connection
from convostore.redis.driver import Client
from convostore.redis.errors import CLOSED, translated, translating
from convostore.redis.multiplexing import SharedConnections, Unsent

T = TypeVar("T")

_REDIRECTIONS = 5
"""How many redirections a call follows; more than two only occur while a slot moves."""

_FEW = 2
"""How many commands may share a connection: more are a list's or a sweep's, and their replies would hold up others."""

_ATTEMPTS = 3
"""How often a call takes another connection because the shared one was closed before it was sent."""

SHARED: WeakKeyDictionary[Client, SharedConnections] = WeakKeyDictionary()
"""The shared connections of each client, for all stores on it."""


class Servers(ABC):
    """The servers that hold the keys of a client. What its callers use raises store errors, never the driver's.

    Args:
        client: the client.
        coalesce: whether concurrent calls of few commands share a connection per node.
    """

    in_order: bool
    """Whether one server holds all keys, and so runs a pipeline in order."""
    connections: int
    """How many calls can have a connection at a time; on a cluster that is up to the nodes."""
    identity_lasts: float
    """How long, in seconds, a checked server identity may be reused before INFO is asked again."""

    def __init__(self, client: Client, *, coalesce: bool) -> None:
        self._shared = SHARED.setdefault(client, SharedConnections()) if coalesce else None

    @abstractmethod
    async def locate(self, keys: Iterable[str]) -> list[Any]:
        """Return the node that holds each key."""

    @abstractmethod
    async def primaries(self) -> list[Any]:
        """Return all nodes that hold keys."""

    @abstractmethod
    def connection(self, node: Any, *, asking: bool = False) -> AbstractAsyncContextManager[Connection]:
        """Return a connection to a node for the duration of a block; wait while all of them are in use.

        It is closed if a reply may be left in it: the next caller must not take that for its own.
        """

    @abstractmethod
    def _capacity_of(self, node: Any) -> int:
        """Return how many connections to a node callers may hold at a time."""

    @abstractmethod
    async def _redirected(self, error: AskError) -> tuple[Any, bool]:
        """Return the node that a redirection names, and whether to send ASKING there."""

    @translating
    async def on(self, key: str, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do work on a connection to the server that holds a key; after a redirection, do it again where that leads."""
        (node,), asking = await self.locate([key]), False
        for left in reversed(range(_REDIRECTIONS)):
            try:
                return await self._work(node, asking, work)
            except AskError as error:
                if not left:
                    raise
                node, asking = await self._redirected(error)
        raise AssertionError("unreachable")

    @translating
    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Send each command to the server that holds its key: one pipeline per server, all of them at once.

        A redirected command was not run, so it is sent again.

        Returns:
            The reply of each command, or the `StoreError` that it met.
        """
        nodes = await self.locate([key_of(command) for command in commands])
        replies: list[Any] = [None] * len(commands)
        due: dict[tuple[Any, bool], list[int]] = {}
        for at, node in enumerate(nodes):
            due.setdefault((node, False), []).append(at)
        for _ in range(_REDIRECTIONS):
            shared = len(commands) <= _FEW
            pipelines = [self._exchanged(*route, [commands[at] for at in part], shared) for route, part in due.items()]
            exchanged = [await pipelines[0]] if len(pipelines) == 1 else await asyncio.gather(*pipelines)
            again: dict[tuple[Any, bool], list[int]] = {}
            for part, found in zip(due.values(), exchanged, strict=True):
                for at, reply in zip(part, found, strict=True):
                    replies[at] = reply
                    if isinstance(reply, AskError):
                        again.setdefault(await self._redirected(reply), []).append(at)
            if not again:
                break
            due = again
        return [translated(reply) if isinstance(reply, Exception) else reply for reply in replies]

    async def versions(self) -> str | None:
        """Return the names and versions of the servers that hold keys, None if the user may not ask for them.

        Raises:
            ValidationError: one is too old.
            ConnectionError: one cannot be reached.
        """
        try:
            versions = sorted({version or "" for version in await self.everywhere(Connection.version)})
        except ConnectionError as error:
            if (error.code, error.outcome) == ("connection", "unknown"):
                raise ConnectionError(CLOSED, code=error.code) from error
            raise
        for version in filter(None, versions):
            supported.check(*version.split(" ", 1))
        return " and ".join(versions) or None

    @translating
    async def everywhere(self, work: Callable[[Connection], Awaitable[T]]) -> list[T]:
        """Do work on a connection to each server that holds keys, on all of them at once."""

        async def on(node: Any) -> T:
            async with self.connection(node) as connection:
                return await work(connection)

        done = await asyncio.gather(*(on(node) for node in await self.primaries()), return_exceptions=True)
        for found in done:
            if isinstance(found, BaseException):
                raise found
        return cast("list[T]", done)

    async def _exchanged(self, node: Any, asking: bool, commands: list[Command], shared: bool) -> list[Any]:
        try:
            return await self._work(node, asking, lambda connection: connection.exchange(commands), shared=shared)
        except (RedisError, OSError) as error:
            return [error] * len(commands)

    async def _work(
        self, node: Any, asking: bool, work: Callable[[Connection], Awaitable[T]], *, shared: bool = True
    ) -> T:
        """Do work on the shared connection to a node, or on one of its own: the only one is never shared."""
        if self._shared is None or asking or not shared or self._capacity_of(node) == 1:
            async with self.connection(node, asking=asking) as connection:
                return await work(connection)
        for left in reversed(range(_ATTEMPTS)):
            try:
                return await work(await self._shared.to(node, self.connection))
            except Unsent:
                if not left:
                    raise
        raise AssertionError("unreachable")


def key_of(command: Command) -> str:
    """Return the key of a command."""
    key: str = command[3] if command[0] in ("EVALSHA", "EVAL") else command[1]
    return key
