"""OpenAI Agents: messages in `SQLAlchemySession`, which has neither a state nor anything else of a turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from agents.extensions.memory import SQLAlchemySession
from sqlalchemy.ext.asyncio import create_async_engine

from bench.conversations import Given
from bench.engines import CONNECTIONS
from bench.peers import MESSAGES, Counts, Loaded, Task


class OpenAIAgents:
    """The task by OpenAI Agents."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._sessions = dict[UUID, SQLAlchemySession]()
        self.tasks: dict[str, Task] = {"history": self.history}

    @classmethod
    @asynccontextmanager
    async def opened(cls, dsn: str) -> AsyncIterator[OpenAIAgents]:
        url = dsn.replace("postgresql://", "postgresql+asyncpg://")
        engine = create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0)
        yield cls(engine)
        await engine.dispose()

    async def prepare(self, loaded: Sequence[Loaded]) -> None:
        for of in loaded:
            session = SQLAlchemySession(str(of.conversation.session_id), engine=self._engine, create_tables=True)
            await session.add_items(_items(of.messages))

    async def history(self, given: Given) -> Counts:
        key = given.conversation.session_id
        # An application makes one object per conversation; to make one is not a part of the turn.
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = SQLAlchemySession(str(key), engine=self._engine)
        messages = await session.get_items(limit=MESSAGES)
        await session.add_items(_items([given.record.user_message, given.record.agent_response]))
        return (len(messages),)


def _items(messages: Sequence[str]) -> Any:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(messages)]
