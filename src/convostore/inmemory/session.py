"""The session store in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from convostore.contracts.session import SessionStore
from convostore.core.boundary import DEFAULT_TIMEOUT
from convostore.core.entities import SESSION
from convostore.core.scope import check_supported, matches
from convostore.errors import ConflictError
from convostore.inmemory.base import InMemoryStore
from convostore.models import Channel, ScopeFilter, Session, SessionStatus
from convostore.models.fields import now


class InMemorySessionStore(InMemoryStore, SessionStore):
    """Sessions in memory, in two tiers that differ in name only."""

    def __init__(self, *, timeout: float = DEFAULT_TIMEOUT, clock: Callable[[], datetime] = now) -> None:
        super().__init__(timeout=timeout, clock=clock)
        self._tenant_of: dict[UUID, UUID] = {}
        self._demoted: set[UUID] = set()

    async def get(self, session_id: UUID, *, tenant_id: UUID | None = None) -> Session | None:
        holder = self._holder(session_id, tenant_id)
        return await self._table(SESSION).get(holder, session_id=session_id) if holder else None

    async def save(self, session: Session, *, overwrite: bool = False) -> UUID:
        if self._tenant_of.get(session.session_id, session.tenant_id) != session.tenant_id:
            raise ConflictError("session: the session id is taken")
        await self._table(SESSION).save(session, overwrite=overwrite)
        self._tenant_of[session.session_id] = session.tenant_id
        self._demoted.discard(session.session_id)
        return session.session_id

    async def delete(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        holder = self._holder(session_id, tenant_id)
        if holder is None:
            return False
        self._demoted.discard(session_id)
        del self._tenant_of[session_id]
        return await self._table(SESSION).delete(holder, session_id=session_id)

    async def get_by_channel(self, tenant_id: UUID, channel: Channel, user_channel_id: str) -> Session | None:
        sessions = await self._find(tenant_id, channel=channel, user_channel_id=user_channel_id)
        sessions.sort(key=lambda session: session.status is SessionStatus.CLOSED)
        return sessions[0] if sessions else None

    async def list_by_agent(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        status: SessionStatus | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Session]:
        return (await self._find(tenant_id, agent_id=agent_id, status=status))[offset:][:limit]

    async def list_by_customer(
        self, tenant_id: UUID, customer_profile_id: UUID, *, limit: int = 100, offset: int = 0
    ) -> list[Session]:
        return (await self._find(tenant_id, customer_profile_id=customer_profile_id))[offset:][:limit]

    async def find_sessions_by_step_hash(
        self,
        tenant_id: UUID,
        scenario_id: UUID,
        scenario_version: int,
        step_content_hash: str,
        scope_filter: ScopeFilter | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Session]:
        check_supported(scope_filter)
        sessions = await self._find(
            tenant_id,
            status=SessionStatus.ACTIVE,
            active_scenario_id=scenario_id,
            active_scenario_version=scenario_version,
        )
        found = [
            session
            for session in sessions
            if session.step_history
            and session.step_history[-1].step_content_hash == step_content_hash
            and matches(session, scope_filter, self._clock())
        ]
        return found[offset:][:limit]

    async def promote_to_hot(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        if self._holder(session_id, tenant_id) is None or session_id not in self._demoted:
            return False
        self._demoted.discard(session_id)
        return True

    async def demote_to_persistent(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        if self._holder(session_id, tenant_id) is None or session_id in self._demoted:
            return False
        self._demoted.add(session_id)
        return True

    def _holder(self, session_id: UUID, tenant_id: UUID | None) -> UUID | None:
        holder = self._tenant_of.get(session_id)
        return holder if tenant_id in (None, holder) else None

    async def _find(self, tenant_id: UUID, **where: Any) -> list[Session]:
        return await self._table(SESSION).find(tenant_id, where)
