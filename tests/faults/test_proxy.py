"""The proxy does to real bytes what its flows say."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from convostore.testing.faults import Flow, Proxy, proxy_to
from tests.processes import private_directory, until


class Echo:
    """A server that answers every byte with itself, and remembers what it heard."""

    def __init__(self) -> None:
        self.heard = b""
        self.open = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        with contextlib.suppress(OSError):
            while data := await reader.read(100):
                self.heard += data
                writer.write(data)
        writer.close()
        self.open -= 1


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, Proxy]]:
    server = Echo()
    listening = await asyncio.start_server(server, "127.0.0.1", 0)
    async with proxy_to(listening.sockets[0].getsockname()[1]) as proxy:
        yield server, proxy
    await until(lambda: server.open == 0, "the server has no connection")
    listening.close()


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection through a proxy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield reader, writer
    writer.transport.abort()


async def asked(proxy: Proxy, data: bytes = b"hello") -> bytes:
    """Send bytes through a proxy, and return as many that come back."""
    async with connected(proxy) as (reader, writer), asyncio.timeout(60):
        writer.write(data)
        return await reader.readexactly(len(data))


@pytest.mark.parametrize("flow", [Flow(), Flow(piece=1), Flow(piece=3, latency=0.001)])
async def test_bytes_arrive_whole_in_pieces_and_late(echo: tuple[Echo, Proxy], flow: Flow) -> None:
    server, proxy = echo
    proxy.to_server = proxy.to_client = flow
    assert await asked(proxy) == server.heard == b"hello"


@pytest.mark.parametrize("bytes_before", [0, 2])
async def test_a_request_is_cut_before_and_in_the_middle_of_its_delivery(
    echo: tuple[Echo, Proxy], bytes_before: int
) -> None:
    server, proxy = echo
    proxy.to_server = Flow(cut_after=bytes_before)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await asked(proxy)
    assert server.heard in (b"hello"[:bytes_before], b"")


async def test_a_reply_is_cut_after_its_request_was_delivered_once(echo: tuple[Echo, Proxy]) -> None:
    server, proxy = echo
    proxy.to_client = Flow(cut_after=0, times=1)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await asked(proxy)
    assert server.heard == b"hello"
    assert await asked(proxy) == b"hello"
    assert proxy.to_client.cuts == 1


async def test_silence_one_way_lets_the_other_through(echo: tuple[Echo, Proxy]) -> None:
    server, proxy = echo
    async with connected(proxy) as (reader, writer):
        proxy.to_client = Flow(silent=True)
        writer.write(b"hello")
        await until(lambda: server.heard == b"hello", "the server hears")
        proxy.silence()
        writer.write(b"again")
        await until(lambda: writer.transport.get_write_buffer_size() == 0, "it is sent")
        assert not reader.at_eof()
        proxy.heal()
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    assert server.heard == b"hello"
    assert await asked(proxy) == b"hello"


async def test_a_refused_connection_is_refused_and_one_that_leads_nowhere_is_reset(echo: tuple[Echo, Proxy]) -> None:
    _, proxy = echo
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asked(proxy)
    await proxy.listen()
    assert await asked(proxy) == b"hello"
    target = proxy.target
    proxy.lead_to(None)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await asked(proxy)
    proxy.lead_to(target)
    assert await asked(proxy) == b"hello"
    assert proxy.connections == 3


async def test_a_proxy_on_a_socket_tells_what_passes_and_leaves_nothing() -> None:
    seen: list[tuple[int, str, bytes]] = []
    with private_directory() as folder:
        listening = await asyncio.start_unix_server(Echo(), folder / "server")
        async with proxy_to(
            folder / "server", at=folder / "proxy", observe=lambda *arrived: seen.append(arrived)
        ) as proxy:
            assert proxy.address == folder / "proxy"
            reader, writer = await asyncio.open_unix_connection(folder / "proxy")
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            # A client that has finished is told of the server's end.
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        listening.close()
        assert "proxy" not in os.listdir(folder)
        assert proxy.tasks == set()
    assert seen == [(1, "to_server", b"x"), (1, "to_client", b"x")]
