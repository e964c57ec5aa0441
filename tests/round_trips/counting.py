"""A proxy on a Unix socket that counts the round trips to a server, and the statements that PostgreSQL is sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

_STATEMENT = {ord("E"), ord("Q")}
"""The messages Execute and Query, each of which runs one statement."""


@dataclass
class Traffic:
    """What passed through a proxy since the last reading.

    Attributes:
        round_trips: how often a client waited for an answer before it sent more.
        statements: how many statements were run, if the server is PostgreSQL.
        connections: how many connections were opened since the proxy started.
    """

    round_trips: int = 0
    statements: int = 0
    connections: int = 0
    _answered: dict[int, bool] = field(default_factory=dict)

    def read(self) -> tuple[int, int]:
        """Return the round trips and statements since the last reading."""
        counts = self.round_trips, self.statements
        self.round_trips = self.statements = 0
        return counts

    def sent(self, connection: int) -> None:
        """Note that a client sent something: a new round trip if the server has answered since."""
        if self._answered.get(connection, True):
            self.round_trips += 1
        self._answered[connection] = False

    def answered(self, connection: int) -> None:
        """Note that a server sent something."""
        self._answered[connection] = True


class Messages:
    """Splits what a PostgreSQL client sends into messages: after the start-up message a type, a length and a body."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._type_bytes = 0

    def statements(self, data: bytes) -> int:
        """Return how many of the messages that end with these bytes run a statement."""
        self._buffer += data
        count = 0
        while len(self._buffer) >= self._type_bytes + 4:
            length = self._type_bytes + int.from_bytes(self._buffer[self._type_bytes : self._type_bytes + 4])
            if len(self._buffer) < length:
                break
            count += bool(self._type_bytes) and self._buffer[0] in _STATEMENT
            del self._buffer[:length]
            self._type_bytes = 1
        return count


@asynccontextmanager
async def counting(path: Path, target: Path, *, postgres: bool = False) -> AsyncIterator[Traffic]:
    """Serve a socket at `path` that passes everything to the socket at `target`, and count."""
    traffic = Traffic()
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        traffic.connections += 1
        number, messages = traffic.connections, Messages()

        def sent(data: bytes) -> None:
            traffic.sent(number)
            if postgres:
                traffic.statements += messages.statements(data)

        inner_reader, inner_writer = await asyncio.open_unix_connection(target)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, inner_writer, sent))
                both.create_task(_copy(inner_reader, writer, lambda _: traffic.answered(number)))
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
        yield traffic
    finally:
        server.close()
        # The client closes its connections, which ends their tasks.
        async with asyncio.timeout(20):
            await asyncio.gather(*serving)
        await server.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            note(data)
            writer.write(data)
            await writer.drain()
        writer.write_eof()
