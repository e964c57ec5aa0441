"""What the processes of a soak have to know of each other: the conversations, and a journal of every write."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from convostore.models import Session

SHARED = 10
"""Of so many conversations one is that of two processes."""


def writes_of(session: Session) -> list[str]:
    """Return the tokens of all writes of a session: each adds its own."""
    writes = session.variables.get("writes", [])
    assert isinstance(writes, list)
    return [*map(str, writes)]


class Conversation(NamedTuple):
    """A customer who talks to an agent."""

    number: int
    tenant_id: UUID
    agent_id: UUID
    session_id: UUID
    profile_id: UUID
    user_channel_id: str

    def belongs_to(self, process: int, processes: int) -> bool:
        """Return whether a process leads it."""
        second = self.number % SHARED == 0 and (self.number + 1) % processes == process
        return self.number % processes == process or second


@dataclass(frozen=True)
class Plan:
    """What a process is told.

    Attributes:
        conversations: all of them.
        processes: how many lead them.
        seconds: how long.
        pause: seconds between two turns of a conversation, on average.
    """

    postgres_url: str
    redis_url: str
    conversations: list[Conversation]
    processes: int
    seconds: float
    pause: float

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), default=str))

    @classmethod
    def read(cls, path: Path) -> Plan:
        values = json.loads(path.read_text())
        conversations = [
            Conversation(n, UUID(tenant), UUID(agent), UUID(session), UUID(profile), user)
            for n, tenant, agent, session, profile, user in values.pop("conversations")
        ]
        return cls(conversations=conversations, **values)


@dataclass
class Attempt:
    """A write, which is applied as a whole or not at all.

    Attributes:
        token: stands in everything that it writes.
        conversation: the number of the conversation.
        way: `"unit"`, or the method of a single call.
        items: the ids of what it writes, by kind.
        outcome: `"acknowledged"`, `"not_applied"` or `"unknown"`; None if its process was killed before it knew.
        code: of the error.
    """

    token: str
    conversation: int
    way: str
    items: dict[str, list[str]]
    outcome: str | None = None
    code: str | None = None


class Journal:
    """Lines that outlive the process that writes them, as each is one write to a file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def began(self, attempt: Attempt) -> None:
        """Note a write that is about to be sent."""
        self._line(began=asdict(attempt))

    def ended(self, attempt: Attempt) -> None:
        """Note what became of it."""
        self._line(ended=attempt.token, outcome=attempt.outcome, code=attempt.code)

    def violated(self, what: str) -> None:
        """Note a promise that was not kept."""
        self._line(violated=what)

    def counted(self, **figures: int) -> None:
        """Note figures, which are added up."""
        self._line(figures=figures)

    def _line(self, **values: Any) -> None:
        os.write(self._file, json.dumps(values).encode() + b"\n")


@dataclass(frozen=True)
class Journals:
    """What the processes have noted."""

    attempts: list[Attempt]
    violations: list[str]
    figures: dict[str, int]

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Journals:
        attempts, violations, figures = dict[str, Attempt](), list[str](), dict[str, int]()
        for line in _lines(paths):
            if "began" in line:
                attempt = Attempt(**line["began"])
                attempts[attempt.token] = attempt
            elif "ended" in line:
                attempts[line["ended"]].outcome, attempts[line["ended"]].code = line["outcome"], line["code"]
            elif "violated" in line:
                violations.append(line["violated"])
            else:
                for name, number in line["figures"].items():
                    figures[name] = figures.get(name, 0) + number
        return cls([*attempts.values()], violations, figures)


def _lines(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        for line in path.read_bytes().splitlines():
            yield json.loads(line)
