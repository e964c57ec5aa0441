"""Google ADK: events and a state in `DatabaseSessionService`; an application is a tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from google.adk.events import Event, EventActions
from google.adk.sessions import DatabaseSessionService
from google.adk.sessions.base_session_service import GetSessionConfig
from google.genai.types import Content, Part
from sqlalchemy.ext.asyncio import create_async_engine

from bench.conversations import Conversation, Given
from bench.engines import CONNECTIONS
from bench.peers import MESSAGES, Counts, Loaded, Task


class GoogleADK:
    """The task by Google ADK."""

    def __init__(self, engine: Any) -> None:
        self._service = DatabaseSessionService(db_engine=engine)
        self.tasks: dict[str, Task] = {"history": self.history}

    @classmethod
    @asynccontextmanager
    async def opened(cls, dsn: str) -> AsyncIterator[GoogleADK]:
        url = dsn.replace("postgresql://", "postgresql+asyncpg://")
        engine = create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0)
        yield cls(engine)
        await engine.dispose()

    async def prepare(self, loaded: Sequence[Loaded]) -> None:
        await self._service.prepare_tables()
        for of in loaded:
            session = await self._service.create_session(
                **_key(of.conversation), state=of.session.model_dump(mode="json")
            )
            for number, text in enumerate(of.messages):
                await self._service.append_event(session, _event(number, text, {}))

    async def history(self, given: Given) -> Counts:
        recent = GetSessionConfig(num_recent_events=MESSAGES)
        session = await self._service.get_session(**_key(given.conversation), config=recent)
        assert session is not None
        count = len(session.events)
        variables = {**session.state["variables"], "turn": given.number}
        await self._service.append_event(session, _event(0, given.record.user_message, {}))
        await self._service.append_event(session, _event(1, given.record.agent_response, {"variables": variables}))
        return (count,)


def _key(c: Conversation) -> dict[str, str]:
    return {"app_name": str(c.tenant_id), "user_id": c.user_channel_id, "session_id": str(c.session_id)}


def _event(number: int, text: str, changed: dict[str, Any]) -> Event:
    author, role = (("user", "user"), ("agent", "model"))[number % 2]
    content = Content(role=role, parts=[Part(text=text)])
    return Event(author=author, content=content, actions=EventActions(state_delta=changed))
