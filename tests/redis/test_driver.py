"""What the stores rely on in redis-py, one test per reliance: a release that passes these tests can be used.

What needs a cluster or sentinels is in tests/cluster/test_driver.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from redis.asyncio import Redis
from redis.exceptions import DataError, RedisError, ResponseError

from convostore.embedded import Embedded
from convostore.redis import create_client, driver
from convostore.redis.errors import REPLIES
from convostore.testing.faults import proxy_to
from tests.processes import until


@pytest.fixture
async def client(engines: Embedded) -> AsyncIterator[Redis]:
    """A client with a pool of one connection."""
    async with create_client(f"{engines.redis_url}?db=9", max_connections=1) as opened:
        yield opened


@pytest.fixture
async def connection(client: Redis) -> AsyncIterator[Any]:
    """The connection of that pool."""
    acquired = await driver.acquire(client)
    yield acquired
    await driver.release(client, acquired)


async def echoed(client: Redis, text: str) -> list[Any]:
    """Return the reply of ECHO on a connection of a client."""
    acquired = await driver.acquire(client)
    try:
        return await driver.exchange(acquired, [("ECHO", text)])
    finally:
        await driver.release(client, acquired)


@pytest.mark.parametrize("protocol", [2, 3])
async def test_replies_are_bytes_whatever_the_client_decodes(engines: Embedded, protocol: int) -> None:
    url = engines.redis_url
    async with Redis.from_url(url, decode_responses=True, protocol=protocol) as decoding:
        acquired = await driver.acquire(decoding)
        replies = await driver.exchange(acquired, [("ECHO", "text"), ("EVAL", "return {'text', 1}", 0)])
        await driver.release(decoding, acquired)
    assert replies == [b"text", [b"text", 1]]


async def test_commands_are_packed_as_the_driver_packs_them(connection: Any) -> None:
    commands = [("SET", "key", "caf\u00e9", "EX", 5), ("ECHO", b"\x00\r\n"), ("ZADD", "k", -1_700_000_000_000_000, 0.5)]
    assert driver.packed(commands) == b"".join(connection.pack_commands(commands))
    with pytest.raises(DataError):
        driver.packed([("GET", None)])


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_protocol_takes_a_connection_over_and_the_driver_still_closes_it(
    engines: Embedded, protocol: int
) -> None:
    class Received(asyncio.Protocol):
        previous: asyncio.BaseProtocol

        def __init__(self) -> None:
            self.replies: list[Any] = []

        def data_received(self, data: bytes) -> None:
            self.replies += reader.read(data)

        def connection_lost(self, error: Exception | None) -> None:
            self.previous.connection_lost(error)

    async with create_client(f"{engines.redis_url}?protocol={protocol}", max_connections=1) as client:
        acquired, received = await driver.acquire(client), Received()
        reader = driver.ReplyReader(acquired)
        transport, received.previous = driver.take_over(acquired, received)
        transport.write(driver.packed([("ECHO", "text"), ("NONSENSE",), ("ECHO", "more")]))
        await until(lambda: len(received.replies) == 3, "three replies arrive")
        text, error, more = received.replies
        assert (text, more) == (b"text", b"more")
        assert isinstance(error, ResponseError)
        async with asyncio.timeout(10):
            await acquired.disconnect()  # Waits for `connection_lost`.
        await driver.release(client, acquired)
        assert await echoed(client, "again") == [b"again"]


async def test_after_an_error_reply_the_next_reply_is_that_of_the_next_command(connection: Any) -> None:
    socket = driver.socket_of(connection)
    before, error, after = await driver.exchange(connection, [("ECHO", "one"), ("NONSENSE",), ("ECHO", "two")])
    assert (before, after) == (b"one", b"two")
    assert isinstance(error, ResponseError)
    assert driver.socket_of(connection) is socket


async def test_the_object_of_a_socket_lives_as_long_as_the_socket(connection: Any) -> None:
    dropped = asyncio.Event()
    first = ref(driver.socket_of(connection), lambda _: dropped.set())
    await driver.exchange(connection, [("PING",)])
    assert driver.socket_of(connection) is first() is not None
    await driver.abort(connection)
    await connection.connect()
    async with asyncio.timeout(10):
        await dropped.wait()
    assert driver.socket_of(connection) is not None


async def test_aborting_does_not_wait_for_a_server_that_reads_nothing(own: Embedded, own_client: Redis) -> None:
    connection = await driver.acquire(own_client)
    assert own.valkey_pid is not None
    os.kill(own.valkey_pid, signal.SIGSTOP)
    try:
        sending = asyncio.create_task(driver.exchange(connection, [("ECHO", "x" * (1 << 24))]))
        await asyncio.sleep(0)
        async with asyncio.timeout(1):
            await driver.abort(connection)
        assert not sending.done()
        sending.cancel()
        await asyncio.wait({sending})
    finally:
        os.kill(own.valkey_pid, signal.SIGCONT)
    await driver.release(own_client, connection)
    assert await echoed(own_client, "again") == [b"again"]


async def test_a_pool_tells_how_it_is_used(client: Redis) -> None:
    acquired = await driver.acquire(client)
    assert driver.use_of(client) == (1, 0, 1)
    await driver.release(client, acquired)
    assert driver.use_of(client) == (0, 1, 1)


async def test_a_connection_that_was_marked_is_closed_on_release(client: Redis) -> None:
    connection = await driver.acquire(client)
    driver.close_when_released(connection)
    assert connection.is_connected
    await driver.release(client, connection)
    assert not connection.is_connected
    assert await echoed(client, "again") == [b"again"]


@pytest.mark.parametrize("fault", ["closed by the server", "a reply is left"])
async def test_a_pool_replaces_a_socket_with_a_reply_left_or_closed_by_the_server(
    engines: Embedded, client: Redis, fault: str
) -> None:
    connection = await driver.acquire(client)
    (number,) = await driver.exchange(connection, [("CLIENT", "ID")])
    if fault == "a reply is left":
        await connection.send_packed_command(connection.pack_commands([("ECHO", "left")]))
    async with create_client(engines.redis_url) as other:
        if fault == "closed by the server":
            await other.client_kill_filter(_id=number)
        else:
            await other.ping()
    await driver.release(client, connection)
    assert await echoed(client, "mine") == [b"mine"]
    assert await echoed(client, "mine again") == [b"mine again"]


async def test_a_pool_replaces_a_socket_that_was_reset(engines: Embedded) -> None:
    async with (
        proxy_to(Path(engines.redis_url.removeprefix("unix://"))) as proxy,
        create_client(f"redis://127.0.0.1:{proxy.port}", max_connections=1) as client,
    ):
        assert isinstance(client, Redis)
        connection = await driver.acquire(client)
        await driver.exchange(connection, [("PING",)])
        await driver.release(client, connection)
        proxy.reset()
        await until(lambda: connection._reader.exception() is not None, "the reset arrives")
        assert await driver.acquire(client) is connection
        assert await driver.exchange(connection, [("PING",)]) == [b"PONG"]
        await driver.release(client, connection)


async def test_a_pool_lets_callers_wait_and_takes_closed_connections_back(client: Redis) -> None:
    connection = await driver.acquire(client)
    waiting = asyncio.create_task(echoed(client, "waited"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    await driver.abort(connection)
    await driver.release(client, connection)
    assert await waiting == [b"waited"]


def test_a_url_gives_the_options_of_connections_and_names_tls() -> None:
    plain = driver.options_of("redis://ann:p%40ss@host:7000?db=2&socket_connect_timeout=1.5")
    assert plain == (
        {"host": "host", "port": 7000, "username": "ann", "password": "p@ss", "db": 2, "socket_connect_timeout": 1.5},
        False,
    )
    assert driver.options_of("rediss://host?ssl_ca_certs=own.pem") == (
        {"host": "host", "ssl_ca_certs": "own.pem"},
        True,
    )


@pytest.mark.parametrize("beginning", REPLIES)
async def test_an_error_reply_is_known_as_it_was_sent_whichever_class_the_parser_has_for_it(
    connection: Any, beginning: str
) -> None:
    text = f"{beginning} 1 127.0.0.1:1"
    try:
        (error,) = await driver.exchange(connection, [("EVAL", f"return redis.error_reply('{text}')", 0)])
    except RedisError as raised:  # LOADING, NOAUTH and WRONGPASS end a connection.
        error = raised
    assert isinstance(error, RedisError)
    assert driver.reply_of(error) == text
    assert driver.reply_of(ConnectionError("READONLY")) == ""


async def test_a_password_that_the_server_does_not_know_of_is_a_reply(connection: Any) -> None:
    with pytest.raises(RedisError) as refused:
        await driver.exchange(connection, [("AUTH", "secret")])
    assert driver.reply_of(refused.value).startswith("ERR AUTH")


async def test_a_closed_pool_connects_no_more_and_closes_what_is_in_use_on_release(engines: Embedded) -> None:
    async with create_client(f"{engines.redis_url}?db=9") as client:
        connection = await driver.acquire(client)
    assert not connection.is_connected
    # As a store's work in the background does that outlives the client.
    assert await driver.exchange(connection, [("ECHO", "late")]) == [b"late"]
    await driver.release(client, connection)
    assert not connection.is_connected
    with pytest.raises(RedisError, match="closed"):
        await driver.acquire(client)
