"""The commands that a server receives, by MONITOR: those of every client, and those that scripts run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

_LINE = re.compile(rb"\+\d+\.\d+ \[(\d+) ([^\]]*)\] (.*)\r\n", re.DOTALL)
_ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)


@dataclass(frozen=True)
class Command:
    """One command: its name in capitals, its arguments as MONITOR prints them, and whether a script ran it."""

    name: str
    arguments: tuple[str, ...]
    by_script: bool


_LAST = Command("ECHO", ("until here",), by_script=False)


def parsed(line: bytes) -> tuple[bytes, Command]:
    """Return the number of the database in which a command ran, and the command, from a line of MONITOR."""
    found = _LINE.fullmatch(line)
    assert found is not None, line
    database, origin, text = found.groups()
    name, *arguments = (argument.decode() for argument in _ARGUMENT.findall(text))
    return database, Command(name.upper(), tuple(arguments), origin == b"lua")


class Monitor:
    """Reads the commands that a server receives in one database."""

    def __init__(self, reader: asyncio.StreamReader, client: Redis, database: int) -> None:
        self._reader = reader
        self._client = client
        self._database = str(database).encode()

    async def seen(self) -> list[Command]:
        """Return the commands since the previous call."""
        await self._client.echo("until here")
        commands: list[Command] = []
        while True:
            database, command = parsed(await self._reader.readuntil(b"\r\n"))
            if command == _LAST:
                return commands
            if database == self._database:
                commands.append(command)


@asynccontextmanager
async def monitoring(client: Redis, path: str, database: int) -> AsyncIterator[Monitor]:
    """Watch the server at a Unix socket."""
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 24)
    try:
        writer.write(b"MONITOR\r\n")
        assert await reader.readline() == b"+OK\r\n"
        yield Monitor(reader, client, database)
    finally:
        writer.close()
        await writer.wait_closed()
