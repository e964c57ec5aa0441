"""The protocol between clients and the supervisor: one JSON object per line over a Unix socket.

A client sends one `Request`; its open connection is the lease. The supervisor answers `welcome`, then `state` whenever
a pid changes, and once `ready` or `failed`. It closes a connection when the client has left, and the last one only when
it exits, after the servers have stopped.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict, dataclass
from typing import Any

RECORD_NAME = "supervisor.json"
"""The file in the home that tells where the supervisor listens."""

LINE_LIMIT = 1 << 20
"""The longest message, in bytes."""

Message = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """The request of a client. Paths are encoded by `to_text`; `timeout` is in seconds and covers the start.

    A request without a home asks for a new ephemeral one. Tests force a mode of `identity.py` by `identity`. To join a
    running supervisor, `token` is that of the home's record, and `home_id` the device and inode that the client sees.
    """

    home: str | None
    postgres_bin: str | None
    postgres_version: int | None
    valkey_server: str | None
    timeout: float
    temporary_roots: list[str]
    runtime_roots: list[str]
    identity: str | None = None
    token: str | None = None
    home_id: list[int] | None = None

    def message(self) -> Message:
        """Return this request as a message."""
        return asdict(self)

    @classmethod
    def parse(cls, message: Message) -> Request:
        """Return the request in a message; `TypeError` if it is none."""
        return cls(**message)


def to_text(path: str | os.PathLike[str]) -> str:
    """Encode a path for JSON, whatever the locales of both processes."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def from_text(text: str) -> str:
    """Decode a path from `to_text`, into this process's file system encoding."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def send(writer: asyncio.StreamWriter, message: Message) -> None:
    """Queue one message; no-op if the connection is closed."""
    if not writer.is_closing():
        writer.write(json.dumps(message).encode("ascii") + b"\n")


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """Return the next message, or None at the end of the stream or on malformed input."""
    try:
        line = await reader.readline()
    except (OSError, ValueError):
        return None
    if not line.endswith(b"\n"):
        return None
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
