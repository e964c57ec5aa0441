"""Counts the round trips to a server behind a proxy, and the statements that PostgreSQL is sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from convostore.testing.faults import proxy_to

_STATEMENT = {ord("E"), ord("Q")}
"""The messages Execute and Query, each of which runs one statement."""


@dataclass
class Traffic:
    """What passed through a proxy since the last reading.

    Attributes:
        postgres: whether the server is PostgreSQL, so that statements are counted.
        round_trips: how often a client waited for an answer before it sent more.
        statements: how many statements were run, if the server is PostgreSQL.
        connections: how many connections were used since the proxy started.
    """

    postgres: bool
    round_trips: int = 0
    statements: int = 0
    _answered: dict[int, bool] = field(default_factory=dict)
    _messages: dict[int, Messages] = field(default_factory=lambda: defaultdict(Messages))

    @property
    def connections(self) -> int:
        return len(self._answered)

    def read(self) -> tuple[int, int]:
        """Return the round trips and statements since the last reading."""
        counts = self.round_trips, self.statements
        self.round_trips = self.statements = 0
        return counts

    def __call__(self, connection: int, direction: str, data: bytes) -> None:
        """Note what passes: what a client sends is a new round trip if the server has answered since."""
        sent = direction == "to_server"
        self.round_trips += sent and self._answered.get(connection, True)
        self._answered[connection] = not sent
        if sent and self.postgres:
            self.statements += self._messages[connection].statements(data)


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
    traffic = Traffic(postgres)
    async with proxy_to(target, at=path, observe=traffic):
        yield traffic
