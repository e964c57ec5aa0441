"""Valkey: appends every write to a file before it answers, and syncs that file every second."""

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
        """Make the data directory."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.data, 0o700)
        files.give(self.data, self.place.identity.uid, self.place.identity.gid)
        await self.place.processes.end_orphans(self.place.supervisor_log)

    def argv(self) -> list[str]:
        """Settings as arguments and the data directory as working directory: a path is never parsed."""
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
        """Whether it says PONG; while it loads its data it says LOADING."""
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
        """SIGTERM lets it write out its file; an ephemeral home has no use for that."""
        await process.stop(*(() if self.place.home.ephemeral else ((signal.SIGTERM, 15.0),)))
