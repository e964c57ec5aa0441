"""The part of PostgreSQL's protocol that probes need: connect, and run a simple query."""

from __future__ import annotations

import asyncio
import struct


class Refused(Exception):
    """The server answered with an error; the message is the server's."""


async def run(socket_path: str, database: str, statement: str) -> int:
    """Run a statement as user postgres over a Unix socket and return its number of rows.

    Raises `Refused` for an error of the server, and `OSError` or `EOFError` without a server.
    """
    reader, writer = await asyncio.open_unix_connection(socket_path)
    try:
        parameters = (
            b"user\0postgres\0database\0" + database.encode() + b"\0application_name\0convostore-supervisor\0\0"
        )
        writer.write(struct.pack("!ii", len(parameters) + 8, 196608) + parameters)
        await _until_idle(reader)
        text = statement.encode() + b"\0"
        writer.write(b"Q" + struct.pack("!i", len(text) + 4) + text)
        rows = await _until_idle(reader)
        writer.write(b"X" + struct.pack("!i", 4))
        return rows
    finally:
        writer.close()


async def _until_idle(reader: asyncio.StreamReader) -> int:
    rows = 0
    problem = None
    while True:
        kind, length = struct.unpack("!ci", await reader.readexactly(5))
        body = await reader.readexactly(length - 4)
        if kind == b"E":
            problem = _message(body)
            if b"SFATAL\0" in body or b"SPANIC\0" in body:
                raise Refused(problem)
        elif kind == b"D":
            rows += 1
        elif kind == b"Z":
            if problem is not None:
                raise Refused(problem)
            return rows


def _message(body: bytes) -> str:
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}
    return f"{fields.get(b'M', 'unknown error')} ({fields.get(b'C', '?')})"
