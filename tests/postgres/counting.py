"""A proxy on a Unix socket that counts round trips: how often a client waits for the server before it sends more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg


@dataclass
class Trips:
    """What passed through a proxy since the last look."""

    count: int = 0
    connections: int = 0
    _answered: dict[int, bool] = field(default_factory=dict)

    def taken(self) -> int:
        """Return the round trips since the last call of this."""
        count, self.count = self.count, 0
        return count

    def sent(self, connection: int) -> None:
        """A client sent something: a new trip if the server had spoken since."""
        if self._answered.get(connection, True):
            self.count += 1
        self._answered[connection] = False

    def answered(self, connection: int) -> None:
        """A server sent something."""
        self._answered[connection] = True


class Counted:
    """A pool whose round trips are counted.

    Attributes:
        pool: of one connection, through the proxy.
        dsn: of the way through the proxy.
        trips: the counter.
    """

    def __init__(self, pool: asyncpg.Pool[Any], dsn: str, trips: Trips) -> None:
        self.pool = pool
        self.dsn = dsn
        self.trips = trips

    async def each(self, **calls: Callable[[], Awaitable[object]]) -> dict[str, int]:
        """Return the round trips of each call, the second time it is made: the first prepares its statements."""
        counts = {}
        for name, call in calls.items():
            await call()
            self.trips.taken()
            await call()
            counts[name] = self.trips.taken()
        return counts


@asynccontextmanager
async def counting(path: Path, target: Path) -> AsyncIterator[Trips]:
    """Serve a socket at `path` that passes everything to the socket at `target`, and count."""
    trips = Trips()
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        trips.connections += 1
        number = trips.connections
        inner_reader, inner_writer = await asyncio.open_unix_connection(target)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, inner_writer, number, trips.sent))
                both.create_task(_copy(inner_reader, writer, number, trips.answered))
        finally:
            writer.close()
            inner_writer.close()
            await asyncio.gather(writer.wait_closed(), inner_writer.wait_closed(), return_exceptions=True)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_unix_server(accept, path)
    try:
        yield trips
    finally:
        server.close()
        # Whoever opened a connection closes it; that ends its task.
        async with asyncio.timeout(20):
            await asyncio.gather(*serving)
        await server.wait_closed()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, note: Callable[[int], None]
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            note(number)
            writer.write(data)
            await writer.drain()
        writer.write_eof()
