"""Valkey: an append-only file, written before each answer and synced every second."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from . import files
from .engine import Engine, Place
from .processes import Process

SOCKET_NAME = "valkey.sock"


class Valkey(Engine):
    """The Valkey server of a home."""

    name = "valkey"

    def __init__(self, place: Place, program: str) -> None:
        super().__init__(place)
        self._program = program
        self.socket = os.path.join(place.runtime.servers, SOCKET_NAME)

    async def prepare(self) -> None:
        """Create the data directory."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.data, 0o700)
        files.give(self.data, self.place.identity.uid, self.place.identity.gid)
        await self.place.processes.end_orphans(self.place.supervisor_log)

    def argv(self) -> list[str]:
        """Return settings as arguments; the data directory is the working directory, so that no path is parsed."""
        settings = {
            "port": "0",
            "unixsocket": self.socket,
            "unixsocketperm": "700",
            "protected-mode": "yes",
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "no" if self.place.home.ephemeral else "everysec",
            "aof-load-truncated": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [self._program, *(part for name, value in settings.items() for part in (f"--{name}", value))]

    async def answers(self) -> bool:
        """Return whether it answers PONG; while it loads its data it answers LOADING."""
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket)
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return (await reader.readline()).startswith(b"+PONG")
        except OSError:
            return False
        finally:
            writer.close()

    async def end(self, process: Process) -> None:
        """SIGTERM, at which it flushes its file; SIGKILL for an ephemeral home."""
        await process.stop(*(() if self.place.home.ephemeral else ((signal.SIGTERM, 15.0),)))
