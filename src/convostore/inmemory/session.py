"""The session store in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from convostore.call.call import current_call
from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.contracts.session import SessionStore, Swept
from convostore.domain.declarations import SESSION
from convostore.domain.scopes import check_scope_filter, in_scope
from convostore.domain.sessions import (
    HOT_TTL,
    MAX_AGE,
    check_unbound,
    fence_conflict,
    new_session,
    no_such_session,
    session_id_conflict,
)
from convostore.inmemory.base import InMemoryStore
from convostore.models import Channel, ScopeFilter, Session, SessionStatus
from convostore.models.fields import now

NEVER = datetime.min.replace(tzinfo=UTC)


class Lock(NamedTuple):
    """The last lock that was given, to whom and until when."""

    token: int
    owner: UUID | None
    until: datetime


FREE = Lock(0, None, NEVER)


class InMemorySessionStore(InMemoryStore, SessionStore):
    """Sessions in memory, in two tiers that differ in name only.

    Args:
        hot_ttl: how long a session may be idle before a sweep demotes it.
        max_age: how long after its last activity a sweep deletes a session; None for never.
        timeout: the deadline of a call, in seconds.
        clock: returns the current time, aware.
        sessions_by_tenant: whether a session id is unique per tenant alone, so that every call must name the tenant.
    """

    def __init__(
        self,
        *,
        hot_ttl: timedelta = HOT_TTL,
        max_age: timedelta | None = MAX_AGE,
        timeout: float = DEFAULT_TIMEOUT,
        clock: Callable[[], datetime] = now,
        sessions_by_tenant: bool = False,
    ) -> None:
        super().__init__(timeout=timeout, clock=clock, sessions_by_tenant=sessions_by_tenant)
        self._hot_ttl = hot_ttl
        self._max_age = max_age
        self._holders: dict[UUID, set[UUID]] = {}
        self._demoted: set[tuple[UUID, UUID]] = set()
        self._locks: dict[tuple[UUID, UUID], Lock] = {}

    async def get(
        self, session_id: UUID, *, tenant_id: UUID | None = None, max_staleness: float = 0.0
    ) -> Session | None:
        holder = self._holder(session_id, tenant_id)
        if holder is None:
            return None
        self._demoted.discard((holder, session_id))
        return await self._table(SESSION).get(holder, session_id=session_id)

    async def save(self, session: Session, *, overwrite: bool = False, fence: int | None = None) -> UUID:
        await self._write(session, overwrite=overwrite, fence=fence)
        return session.session_id

    async def _write(self, session: Session, *, overwrite: bool, fence: int | None) -> None:
        key, holders = (session.tenant_id, session.session_id), self._holders.get(session.session_id, set())
        if not self.tenant_required and holders - {session.tenant_id}:
            raise session_id_conflict()
        if fence is not None and fence < self._locks.get(key, FREE).token:
            raise fence_conflict()
        await self._table(SESSION).save(session, overwrite=overwrite)
        self._holders[session.session_id] = {*holders, session.tenant_id}
        self._demoted.discard(key)

    def _kept(self, session: Session) -> Callable[[], None]:
        """Return what restores all that a save of a session changes."""
        key, restore_row = (session.tenant_id, session.session_id), self._table(SESSION).kept(session)
        holders, demoted = self._holders.get(session.session_id, set()), key in self._demoted

        def restore() -> None:
            restore_row()
            if holders:
                self._holders[session.session_id] = holders
            else:
                self._holders.pop(session.session_id, None)
            if demoted:
                self._demoted.add(key)

        return restore

    async def delete(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        holder = self._holder(session_id, tenant_id)
        if holder is None:
            return False
        self._demoted.discard((holder, session_id))
        self._locks.pop((holder, session_id), None)
        self._holders[session_id] -= {holder}
        if not self._holders[session_id]:
            del self._holders[session_id]
        return await self._table(SESSION).delete(holder, session_id=session_id)

    async def get_by_channel(
        self, tenant_id: UUID, channel: Channel, user_channel_id: str, *, agent_id: UUID | None = None
    ) -> Session | None:
        sessions = await self._find(tenant_id, agent_id=agent_id, channel=channel, user_channel_id=user_channel_id)
        sessions.sort(key=lambda session: session.status is SessionStatus.CLOSED)
        return sessions[0] if sessions else None

    async def get_or_create(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        channel: Channel,
        user_channel_id: str,
        *,
        customer_profile_id: UUID | None = None,
        config_version: int = 1,
    ) -> tuple[Session, bool]:
        created = new_session(
            current_call().write_id,
            tenant_id,
            agent_id,
            channel,
            user_channel_id,
            customer_profile_id=customer_profile_id,
            config_version=config_version,
        )
        session = await self._load_or_create(created)
        return session, session.session_id == created.session_id

    async def _load_or_create(self, created: Session) -> Session:
        """Return the open session of a session's identity and agent, or save it as that one."""
        # Nothing is awaited that suspends between the search and the save.
        identity = {name: getattr(created, name) for name in ("agent_id", "channel", "user_channel_id")}
        for session in await self._find(created.tenant_id, **identity):
            if session.status is not SessionStatus.CLOSED:
                return session
        await self._write(created, overwrite=False, fence=None)
        return created

    async def list_by_agent(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        status: SessionStatus | None = None,
        limit: int = 100,
        offset: int = 0,
        after: Session | None = None,
    ) -> list[Session]:
        return (await self._find(tenant_id, after, agent_id=agent_id, status=status))[offset:][:limit]

    async def list_by_customer(
        self,
        tenant_id: UUID,
        customer_profile_id: UUID,
        *,
        limit: int = 100,
        offset: int = 0,
        after: Session | None = None,
    ) -> list[Session]:
        return (await self._find(tenant_id, after, customer_profile_id=customer_profile_id))[offset:][:limit]

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
        after: Session | None = None,
    ) -> list[Session]:
        check_scope_filter(scope_filter)
        sessions = await self._find(
            tenant_id,
            after,
            status=SessionStatus.ACTIVE,
            active_scenario_id=scenario_id,
            active_scenario_version=scenario_version,
        )
        found = [
            session
            for session in sessions
            if session.step_history
            and session.step_history[-1].step_content_hash == step_content_hash
            and in_scope(session, scope_filter, self._clock())
        ]
        return found[offset:][:limit]

    async def promote_to_hot(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        holder = self._holder(session_id, tenant_id)
        if holder is None or (holder, session_id) not in self._demoted:
            return False
        self._demoted.discard((holder, session_id))
        return True

    async def demote_to_persistent(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        holder = self._holder(session_id, tenant_id)
        if holder is None or (holder, session_id) in self._demoted:
            return False
        self._demoted.add((holder, session_id))
        return True

    async def acquire_lock(
        self, session_id: UUID, owner: UUID, *, ttl: float = 30.0, tenant_id: UUID | None = None
    ) -> int | None:
        holder = self._holder(session_id, tenant_id)
        if holder is None:
            raise no_such_session()
        lock, now = self._locks.get((holder, session_id), FREE), self._clock()
        if lock.owner != owner and lock.until > now:
            return None
        token = lock.token if lock.owner == owner and lock.until > now else lock.token + 1
        self._locks[holder, session_id] = Lock(token, owner, now + timedelta(seconds=ttl))
        return token

    async def release_lock(self, session_id: UUID, owner: UUID, *, tenant_id: UUID | None = None) -> bool:
        holder = self._holder(session_id, tenant_id)
        if holder is None:
            return False
        lock = self._locks.get((holder, session_id), FREE)
        if lock.owner != owner or lock.until <= self._clock():
            return False
        self._locks[holder, session_id] = lock._replace(until=NEVER)
        return True

    async def sweep(self, *, limit: int = 1_000) -> Swept:
        check_unbound(self._tenant)
        sessions = self._idle(self._max_age)[:limit]
        for session in sessions:
            await self.delete(session.session_id, tenant_id=session.tenant_id)
        idle = [(session.tenant_id, session.session_id) for session in self._idle(self._hot_ttl)]
        idle = [key for key in idle if key not in self._demoted][: limit - len(sessions)]
        self._demoted.update(idle)
        return Swept(demoted=len(idle), deleted=len(sessions))

    def _idle(self, age: timedelta | None) -> list[Session]:
        if age is None:
            return []
        latest = self._clock() - age
        return [row.item for row in self._table(SESSION).rows() if row.item.last_activity_at < latest]

    def _holder(self, session_id: UUID, tenant_id: UUID | None) -> UUID | None:
        holders = self._holders.get(session_id, set())
        if tenant_id is None:
            return next(iter(holders), None)
        return tenant_id if tenant_id in holders else None

    async def _find(self, tenant_id: UUID, after: Session | None = None, **where: Any) -> list[Session]:
        return await self._table(SESSION).find(tenant_id, where, after=after)
