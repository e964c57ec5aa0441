"""One turn: a message comes in, an answer goes out, and a message that comes twice is answered once."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from convostore import Stores
from convostore.models import Channel, Episode, ProfileField, ProfileFieldSource, Session, TurnRecord
from convostore.replay import HashingEmbedder
from examples.support.agents import Answering, Situation

EMBEDDER = HashingEmbedder()
"""Stands in for an embedding model: texts that share words are near each other."""

_NAME = re.compile(r"\bmy name is (\w+)", re.IGNORECASE)


@dataclass(frozen=True)
class Message:
    """What a channel delivers, perhaps more than once: the same id is the same message."""

    id: str
    channel: Channel
    user: str
    text: str
    sent_at: datetime


class Turns:
    """The conversations of one tenant's agent.

    Args:
        stores: bound to the tenant.
        tenant_id: the tenant.
        agent_id: its agent.
        agent: answers.
    """

    def __init__(self, stores: Stores, tenant_id: UUID, agent_id: UUID, agent: Answering) -> None:
        self._stores = stores
        self._tenant_id = tenant_id
        self._agent_id = agent_id
        self._agent = agent

    async def answer(self, message: Message) -> AsyncIterator[str]:
        """Yield the answer to a message piece by piece; to one that was answered, what was said then.

        Whoever stops listening before the end leaves the message unanswered: it can come again.
        """
        identity = (message.channel, message.user)
        customer = await self._stores.profiles.get_or_create(self._tenant_id, *identity)
        session, _ = await self._stores.sessions.get_or_create(
            self._tenant_id, self._agent_id, *identity, customer_profile_id=customer.id
        )
        async with self._stores.sessions.lock(session.session_id) as fence:
            session = await self._current(session.session_id, fence)
            turn_id = uuid5(session.session_id, message.id)
            if turn := await self._stores.audit.get_turn(self._tenant_id, turn_id):
                yield turn.agent_response
                return
            started, pieces = time.monotonic(), list[str]()
            async for piece in self._agent.answer(await self._situation(message)):
                pieces.append(piece)
                yield piece
            turn = TurnRecord(
                turn_id=turn_id,
                tenant_id=self._tenant_id,
                agent_id=self._agent_id,
                session_id=session.session_id,
                customer_profile_id=customer.id,
                turn_number=session.turn_count,
                user_message=message.text,
                agent_response="".join(pieces),
                latency_ms=(time.monotonic() - started) * 1000,
                tokens_used=len(pieces),
                timestamp=message.sent_at,
            )
            # The record first: it says what was answered, and all else follows from it.
            await self._stores.audit.save_turn(turn)
            await self._settle(session, turn, fence)

    async def _current(self, session_id: UUID, fence: int) -> Session:
        """Return the session as the last turn left it, and complete what a worker that died had left undone."""
        session = await self._stores.sessions.get(session_id)
        if session is None:
            raise LookupError("the session was deleted meanwhile")
        turns = await self._stores.audit.list_turns_by_session(self._tenant_id, session_id, offset=session.turn_count)
        for turn in turns:
            await self._settle(session, turn, fence)
        return session

    async def _situation(self, message: Message) -> Situation:
        customer = await self._stores.profiles.get_or_create(self._tenant_id, message.channel, message.user)
        vector = EMBEDDER.embed(message.text)
        rules = await self._stores.config.vector_search_rules(vector, self._tenant_id, self._agent_id, limit=5)
        memories = await self._stores.memory.search_episodes(
            message.text, vector, self._tenant_id, self._agent_id, customer_profile_id=customer.id, limit=3
        )
        return Situation(message.text, customer, rules, memories)

    async def _settle(self, session: Session, turn: TurnRecord, fence: int) -> None:
        """Write what follows from a turn. Ids and times follow from the turn's: doing it twice changes nothing."""
        episode = Episode(
            id=uuid5(turn.turn_id, "episode"),
            tenant_id=self._tenant_id,
            agent_id=self._agent_id,
            customer_profile_id=turn.customer_profile_id,
            session_id=turn.session_id,
            group_id=turn.session_id,
            content=turn.user_message,
            language="english",
            embedding=EMBEDDER.embed(turn.user_message),
            embedding_model=EMBEDDER.model,
            occurred_at=turn.timestamp,
            recorded_at=turn.timestamp,
        )
        await self._stores.memory.add_episode(episode)
        if turn.customer_profile_id and (name := _NAME.search(turn.user_message)):
            field = ProfileField(
                id=uuid5(turn.turn_id, "name"),
                name="name",
                value=name[1],
                value_type="string",
                source=ProfileFieldSource.USER_PROVIDED,
                source_session_id=turn.session_id,
                collected_at=turn.timestamp,
                updated_at=turn.timestamp,
            )
            await self._stores.profiles.update_field(self._tenant_id, turn.customer_profile_id, field)
        session.turn_count = turn.turn_number + 1
        await self._stores.sessions.save(session, fence=fence)
