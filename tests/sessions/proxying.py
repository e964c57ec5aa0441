"""A TCP proxy that can be redirected, cut, and made to swallow data."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """Forwards connections to a port of this machine.

    Attributes:
        port: the port on which it listens.
        target: the port to which it forwards; None refuses connections.
        swallowing: whether it reads data and forwards none.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.target: int | None = target
        self.swallowing = False
        self._open: set[asyncio.StreamWriter] = set()

    def lead_to(self, target: int | None) -> None:
        """Close all connections; forward new ones to another port, or refuse them."""
        self.target = target
        for writer in self._open:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection."""
        both = [writer]
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError):
                inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.target or 0)
                both.append(inner_writer)
                self._open.add(inner_writer)
                await asyncio.gather(self._copy(reader, inner_writer), self._copy(inner_reader, writer))
        finally:
            self._open.difference_update(both)
            for each in both:
                each.transport.abort()
            await asyncio.gather(*(each.wait_closed() for each in both), return_exceptions=True)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if not self.swallowing:
                    writer.write(data)
        writer.transport.abort()


@asynccontextmanager
async def proxy_to(port: int) -> AsyncIterator[Proxy]:
    """A proxy for the duration of a block."""
    proxy, serving = Proxy(port), set[asyncio.Task[None]]()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.lead_to(None)
        async with asyncio.timeout(20):
            await asyncio.gather(*serving, return_exceptions=True)
        await server.wait_closed()
