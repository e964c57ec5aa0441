"""Entry point of the supervisor process: daemonise, then supervise."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import traceback

from .protocol import LINE_LIMIT, send
from .service import supervise


def main(lease: int) -> None:
    """Run as the supervisor whose first client is the peer of the socket with this descriptor.

    Forks, so that the client has no child to reap, and starts a session, so that signals to the client's terminal or
    process group do not reach it.
    """
    if os.fork() != 0:
        os._exit(0)
    os.dup2(0, 2)  # /dev/null; the client reads the other end until it is closed
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    os.set_inheritable(lease, False)
    asyncio.run(_run(socket.socket(fileno=lease)))


async def _run(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=connection, limit=LINE_LIMIT)
    try:
        await supervise(reader, writer)
    except Exception:  # noqa: BLE001  the client gets the traceback, then this process exits
        send(writer, {"event": "failed", "message": f"the supervisor failed\n{traceback.format_exc()}"})
        with contextlib.suppress(OSError):
            await writer.drain()
    # With connections open: their end tells the last client that this process has exited, not that it is about to.
    os._exit(0)
