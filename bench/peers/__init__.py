"""What other libraries offer for the same, each as a class of a few lines.

`turn` is the whole turn of ten steps (bench/conversations.py); `history` reads a session and its last 20 messages,
appends two, and saves the session. A library has the tasks that it can do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from bench.conversations import Conversation, Given
from convostore.models import AgentConfig, CustomerProfile, Episode, Session, TurnRecord

MESSAGES = 20
"""How many messages `history` reads; a turn has two."""

Counts: TypeAlias = "tuple[int, ...]"
"""How many items a task has read: `turn` of the configuration, rules, episodes; `history` messages."""
Task: TypeAlias = "Callable[[Given], Awaitable[Counts]]"


class Loaded(NamedTuple):
    """What is stored of a conversation before the first turn."""

    conversation: Conversation
    session: Session
    profile: CustomerProfile
    config: AgentConfig
    episodes: list[Episode]
    turns: list[TurnRecord]

    @property
    def messages(self) -> list[str]:
        return [text for turn in self.turns for text in (turn.user_message, turn.agent_response)]


class Peer(Protocol):
    """A library, opened on a database of its own."""

    @property
    def tasks(self) -> Mapping[str, Task]:
        """What it can do, by name."""

    async def prepare(self, loaded: Sequence[Loaded]) -> None:
        """Create tables, and store what is there before the first turn."""
