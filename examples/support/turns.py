"""One turn: a message comes in, an answer goes out, and a message that comes twice is answered once."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from convostore import Stores
from convostore.models import Channel, Episode, ProfileField, ProfileFieldSource, TurnRecord
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
            turn_id = uuid5(session.session_id, message.id)
            if answered := await self._stores.audit.get_turn(self._tenant_id, turn_id):
                yield answered.agent_response
                return
            vector = EMBEDDER.embed(message.text)
            turn = await self._stores.load_turn(
                self._tenant_id, session_id=session.session_id, query=message.text, query_embedding=vector, episodes=3
            )
            situation = Situation(message.text, turn.profile or customer, turn.rules, turn.episodes)
            started, pieces = time.monotonic(), list[str]()
            async for piece in self._agent.answer(situation):
                pieces.append(piece)
                yield piece
            record = TurnRecord(
                turn_id=turn_id,
                tenant_id=self._tenant_id,
                agent_id=self._agent_id,
                session_id=session.session_id,
                customer_profile_id=customer.id,
                turn_number=turn.session.turn_count,
                user_message=message.text,
                agent_response="".join(pieces),
                latency_ms=(time.monotonic() - started) * 1000,
                tokens_used=len(pieces),
                timestamp=message.sent_at,
            )
            turn.session.turn_count += 1
            # All or nothing: a worker that dies leaves an unanswered message, not half a turn.
            async with self._stores.unit_of_work(self._tenant_id) as work:
                work.save_session(turn.session, fence=fence)
                work.save_turn(record)
                work.add_episodes([self._remembered(record, vector)])
                if name := _NAME.search(message.text):
                    work.update_field(customer.id, _field(record, "name", name[1]))

    def _remembered(self, record: TurnRecord, vector: list[float]) -> Episode:
        return Episode(
            tenant_id=self._tenant_id,
            agent_id=self._agent_id,
            customer_profile_id=record.customer_profile_id,
            session_id=record.session_id,
            group_id=record.session_id,
            content=record.user_message,
            language="english",
            embedding=vector,
            embedding_model=EMBEDDER.model,
            occurred_at=record.timestamp,
        )


def _field(record: TurnRecord, name: str, value: str) -> ProfileField:
    return ProfileField(
        name=name,
        value=value,
        value_type="string",
        source=ProfileFieldSource.USER_PROVIDED,
        source_session_id=record.session_id,
        collected_at=record.timestamp,
    )
