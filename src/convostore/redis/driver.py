"""What the stores rely on in redis-py beyond its documented interface: each reliance is named, explained and tested.

redis-py documents clients that send commands. The stores use what is below them, the connections, and in `topology` the
nodes of a cluster, because they route and retry themselves: see docs/decisions/0010. Nothing but these two modules
touches the driver's internals. Tests: tests/redis/test_driver.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import hiredis
import redis.asyncio as aio
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection
from redis.exceptions import (
    ConnectionError,
    DataError,
    InvalidResponse,
    ResponseError,
)

from convostore.call.metrics import PoolUse

Client: TypeAlias = "aio.Redis | RedisCluster"
"""A client of redis-py."""

RawConnection: TypeAlias = Any
"""A connection of redis-py, whose methods have no types."""


async def exchange(connection: RawConnection, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send commands in one pipeline; return for each its reply, or the `ResponseError` that it was refused with.

    Relies on: `send_packed_command` of `pack_commands` writes them all; `read_response(disable_decoding=True)` returns
    bytes whatever the client decodes, and leaves the connection usable when it raises a `ResponseError`.
    """
    await connection.send_packed_command(connection.pack_commands(commands))
    replies: list[Any] = []
    for _ in commands:
        try:
            replies.append(await connection.read_response(disable_decoding=True))
        except ResponseError as error:
            replies.append(error)
    return replies


def packed(commands: Sequence[tuple[Any, ...]]) -> bytes:
    """Return commands as they are sent, text in UTF-8: what `pack_commands` returns, in an eighth of the time.

    Raises:
        DataError: an argument is neither bytes, text nor a number.
    """
    try:
        return b"".join(map(hiredis.pack_command, commands))
    except (TypeError, ValueError) as error:
        raise DataError("redis-py cannot encode an argument") from error


class ReplyReader:
    """Splits what a server sends into replies: as `exchange` returns them, and errors of every kind among them.

    Args:
        connection: the connection, whose `_parser.parse_error` makes the exception of an error reply.
    """

    _INCOMPLETE = object()

    def __init__(self, connection: RawConnection) -> None:
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=connection._parser.parse_error,
            notEnoughData=self._INCOMPLETE,
        )

    def read(self, data: bytes) -> Iterator[Any]:
        """Yield the replies that end with these bytes.

        Raises:
            InvalidResponse: no server of the protocol has sent them.
        """
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not self._INCOMPLETE:
            if not isinstance(reply, hiredis.PushNotification):
                yield reply


def take_over(connection: RawConnection, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, asyncio.Protocol]:
    """Let a protocol receive what the server sends; return the transport, and the protocol that received it before.

    The former must pass `connection_lost` on to the latter, for which the driver waits when it closes the connection.

    Relies on: `_writer` is asyncio's, of a connection without a reply left.
    """
    transport: asyncio.Transport = connection._writer.transport
    previous: Any = transport.get_protocol()
    transport.set_protocol(protocol)
    return transport, previous


def socket_of(connection: RawConnection) -> object:
    """Return an object that lives as long as the socket of a connection and can be referenced weakly.

    Relies on: a connection has a new `_writer` after each connect, and drops it when it is closed.
    """
    return connection._writer


async def abort(connection: RawConnection) -> None:
    """Close a connection without waiting for the server. The next caller connects it again.

    Relies on: `disconnect(nowait=True)` does not wait for the socket to be closed.
    """
    await connection.disconnect(nowait=True)


def close_when_released(connection: RawConnection) -> None:
    """Let a connection be closed when its caller gives it back.

    Relies on: pools and nodes close a connection on release after `mark_for_reconnect`.
    """
    connection.mark_for_reconnect()


async def close_if_reset(connection: RawConnection) -> None:
    """Close a connection that was reset while it was idle, or the next command would be sent into the void.

    Relies on: a reset sets the exception of `_reader`, asyncio's, whose end is all that `can_read` looks for.
    """
    if connection._reader is not None and connection._reader.exception() is not None:
        await abort(connection)


def check_options(client: aio.Redis) -> None:
    """Refuse options that no connection of a client takes. Relies on: a pool makes each of class and arguments.

    Raises:
        TypeError: the driver does not know one.
    """
    pool: Any = client.connection_pool
    pool.connection_class(**pool.connection_kwargs)


def connections_of(client: aio.Redis) -> int:
    """Return how many connections a client's pool opens at most. Relies on: a pool has `max_connections`."""
    pool: Any = client.connection_pool
    most: int = pool.max_connections
    return most


def use_of(client: aio.Redis) -> PoolUse:
    """Return how a client's pool is used.

    Relies on: `get_connection_count` returns the number of idle connections, then that of those in use.
    """
    pool: Any = client.connection_pool
    (idle, _), (used, _) = pool.get_connection_count()
    return PoolUse(used, idle, connections_of(client))


async def acquire(client: aio.Redis) -> RawConnection:
    """Return a connection of a client's pool, connected, with no reply left in it.

    Relies on: `get_connection` waits as the pool is configured to, and replaces a socket that the server has closed or
    that has something left to read.
    """
    pool: Any = client.connection_pool
    return await pool.get_connection()


async def release(client: aio.Redis, connection: RawConnection) -> None:
    """Give a connection back to a client's pool.

    Relies on: `release` takes a closed connection back as well, for which the pool then opens no other.
    """
    pool: Any = client.connection_pool
    await pool.release(connection)


class Pool(aio.BlockingConnectionPool):
    """A pool whose callers wait for a free connection, and which stays closed, as a cluster's client does.

    Relies on: a client closes its pool, `get_connection` connects by `ensure_connection`, and a connection that was
    closed while in use is connected again by the next command on it, and disconnected on release if it is marked.
    """

    _closed = False

    async def ensure_connection(self, connection: RawConnection) -> None:
        if self._closed:
            raise ConnectionError("The client is closed.")
        await close_if_reset(connection)
        await super().ensure_connection(connection)

    async def release(self, connection: RawConnection) -> None:
        if self._closed:
            close_when_released(connection)
        await super().release(connection)

    async def aclose(self) -> None:
        self._closed = True
        await super().aclose()


class _SentinelConnection(SentinelManagedConnection):
    """Relies on: `read_response` is all that the driver overrides to replace READONLY by a lost connection."""

    # After READONLY the command was not run; after a lost connection its outcome is unknown.
    read_response = Connection.read_response  # type: ignore[assignment]


class _SentinelSSLConnection(_SentinelConnection, SSLConnection):
    pass


class _SentinelPool(SentinelConnectionPool, Pool):
    """A pool whose sentinels are closed with it.

    Relies on: both pools call `super().__init__` and share the bookkeeping of `ConnectionPool`.
    """

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def sentinel_pool(
    service: str, hosts: list[tuple[str, int]], *, ssl: bool, sentinel_options: dict[str, Any], **options: Any
) -> aio.ConnectionPool:
    """Return a blocking pool of connections to the primary of a service, which sentinels name at each connect.

    Relies on: `SentinelConnectionPool` takes the class of its connections as `connection_class`.
    """
    pool: Any = _SentinelPool
    sentinels: Any = Sentinel
    found: aio.ConnectionPool = pool(
        service,
        sentinels(hosts, sentinel_kwargs={**sentinel_options, "ssl": ssl}),
        connection_class=_SentinelSSLConnection if ssl else _SentinelConnection,
        **options,
    )
    return found


def options_of(url: str) -> tuple[dict[str, Any], bool]:
    """Return the options of connections that a `redis://` or `rediss://` URL gives, and whether it asks for TLS.

    Relies on: `parse_url` returns arguments of a connection, and names TLS by `connection_class`.
    """
    options: dict[str, Any] = dict(parse_url(url))
    return options, options.pop("connection_class", None) is SSLConnection


def reply_of(error: BaseException) -> str:
    """Return an error reply as the server sent it, such as `READONLY …`, or "" if the error is none.

    Relies on: the parser cuts the prefix off where it has a class for the error, and keeps it as `status_code`.
    """
    prefix: str | None = getattr(error, "status_code", None)
    if prefix is None:
        return str(error) if isinstance(error, ResponseError) else ""
    return f"{prefix} {error}"
