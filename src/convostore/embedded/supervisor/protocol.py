"""What clients and the supervisor say to each other: one JSON object a line over a Unix socket.

A client sends one `Request` and nothing more; its open connection is the lease. The supervisor answers `welcome`, then
`state` whenever a pid changes, and once `ready` or `failed`. It closes the connection when the client has left, and for
the last client only when the servers have stopped and it is about to exit.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict, dataclass
from typing import Any

RECORD_NAME = "supervisor.json"
"""File in the home that says where the running supervisor listens."""

LINE_LIMIT = 1 << 20
"""Longest message in bytes."""

Message = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What a client wants. Paths are strings made by `to_text`; `timeout` is in seconds and covers the start.

    Without a home it is a new ephemeral one. `identity` forces a mode of `identity.py` in tests. `token` and `home_id`
    (device and inode) are what the home's record says and what the client sees, where it joins a running supervisor.
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
        """This request as a message."""
        return asdict(self)

    @classmethod
    def parse(cls, message: Message) -> Request:
        """The request in a message; `TypeError` when it is not one."""
        return cls(**message)


def to_text(path: str | os.PathLike[str]) -> str:
    """A path as text that survives JSON and two processes with different locales."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def from_text(text: str) -> str:
    """The path that `to_text` made into text, in this process's own file system encoding."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def send(writer: asyncio.StreamWriter, message: Message) -> None:
    """Queue one message; nothing happens when the other side has gone."""
    if not writer.is_closing():
        writer.write(json.dumps(message).encode("ascii") + b"\n")


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """The next message, or `None` when the other side has gone or did not send one."""
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
