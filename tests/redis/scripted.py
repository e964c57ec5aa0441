"""A server that answers when a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hiredis

from tests.processes import until


class ScriptedServer:
    """Answers a connection's handshake at once, and each later command when it is told to.

    Attributes:
        arrived: per connection, what arrived with each read: a list of commands.
    """

    def __init__(self) -> None:
        self.arrived: list[list[list[list[bytes]]]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def expect(self, commands: int, *, connection: int = 0) -> list[list[list[bytes]]]:
        """Wait for so many commands on a connection; return them by read."""

        def count() -> int:
            return sum(map(len, self.arrived[connection])) if len(self.arrived) > connection else 0

        await until(lambda: count() >= commands, f"{commands} commands arrive")
        return self.arrived[connection]

    def answer(self, *replies: bytes, connection: int = 0) -> None:
        """Send replies on a connection as they are."""
        self._writers[connection].write(b"".join(replies))

    def close(self, connection: int = 0) -> None:
        """Close a connection."""
        self._writers[connection].close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until either side closes it."""
        parser, arrived = hiredis.Reader(), list[list[Any]]()
        self._writers.append(writer)
        self.arrived.append(arrived)
        while data := await reader.read(1 << 20):
            parser.feed(data)
            commands = list(iter(parser.gets, False))
            if all(command[0] == b"CLIENT" for command in commands):
                writer.write(b"+OK\r\n" * len(commands))
            else:
                arrived.append(commands)
        writer.close()


@asynccontextmanager
async def scripted_server(path: Path) -> AsyncIterator[ScriptedServer]:
    """Serve at a Unix socket during a block."""
    server = ScriptedServer()
    async with await asyncio.start_unix_server(server.serve, path):
        yield server
