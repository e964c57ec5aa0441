"""The session store on PostgreSQL: one table, one tier, one statement per call, two for a sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

import asyncpg

from convostore.call.call import current_call
from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.contracts.session import SessionStore, Swept
from convostore.domain.scopes import check_scope_filter, created_window
from convostore.domain.sessions import GuardedWrite, check_unbound, new_session, no_such_session
from convostore.errors import StoreError
from convostore.models import Channel, ScopeFilter, Session, SessionStatus
from convostore.models.fields import now
from convostore.postgres.database import DEADLINE, Database
from convostore.postgres.pages import page
from convostore.postgres.queries import queries
from convostore.postgres.session_table import SessionTable
from convostore.postgres.store import PostgresStore

TENANTS_AT_ONCE = 100
"""Of how many tenants a sweep deletes sessions where tables are distributed: a round trip each, within one call."""


class PostgresSessionStore(PostgresStore, SessionStore):
    """Sessions on PostgreSQL. There is one tier, so nothing is ever promoted or demoted.

    Args:
        pool: from `create_pool`, or any asyncpg pool whose connections run as the role `convostore_app`.
        max_age: how long after its last activity a sweep deletes a session; None for never.
        timeout: the deadline of a call, in seconds.
        clock: returns the current time, aware.
        coalesce: whether concurrent calls of one kind travel together.
        sessions_by_tenant: whether a session id is unique per tenant alone, so that every call must name the tenant.
            The database was set up for either (`migrate`); a connection to one that was for the other is refused.
    """

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        *,
        max_age: timedelta | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        clock: Callable[[], datetime] = now,
        coalesce: bool = True,
        sessions_by_tenant: bool = False,
    ) -> None:
        super().__init__(pool, timeout=timeout, clock=clock, coalesce=coalesce, sessions_by_tenant=sessions_by_tenant)
        self._database.by_tenant = sessions_by_tenant
        self._max_age = max_age
        self._sessions = SessionTable(self._database, self._clock)

    async def get(
        self, session_id: UUID, *, tenant_id: UUID | None = None, max_staleness: float = 0.0
    ) -> Session | None:
        query = _by_id("get_session", session_id, tenant_id)
        row = await self._database.fetchrow_together(*query)
        return self._session(row, tenant_id or row["tenant_id"]) if row else None

    async def save(self, session: Session, *, overwrite: bool = False, fence: int | None = None) -> UUID:
        await self.write(session, overwrite=overwrite, fence=fence, invalidate_copies=False)
        return session.session_id

    async def delete(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        return await self.remove(session_id, tenant_id, invalidate_copies=False)

    async def get_by_channel(
        self, tenant_id: UUID, channel: Channel, user_channel_id: str, *, agent_id: UUID | None = None
    ) -> Session | None:
        query = queries("session").session_by_channel(
            tenant_id=tenant_id, agent_id=agent_id, channel=channel, user_channel_id=user_channel_id
        )
        row = await self._database.fetchrow(*query)
        return self._session(row, tenant_id) if row else None

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
        session, _ = await self.load_or_create(created)
        return session, session.session_id == created.session_id

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
        where = {"agent_id": agent_id, "status": status}
        return await self._sessions.find(tenant_id, where, limit=limit, offset=offset, after=after)

    async def list_by_customer(
        self,
        tenant_id: UUID,
        customer_profile_id: UUID,
        *,
        limit: int = 100,
        offset: int = 0,
        after: Session | None = None,
    ) -> list[Session]:
        where = {"customer_profile_id": customer_profile_id}
        return await self._sessions.find(tenant_id, where, limit=limit, offset=offset, after=after)

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
        scope = scope_filter or ScopeFilter()
        created_since, created_until = created_window(scope, self._clock())

        async def fetch(last: tuple[datetime | None, UUID | None], offset: int) -> list[asyncpg.Record]:
            query = queries("session").sessions_at_step(
                tenant_id=tenant_id,
                scenario_id=scenario_id,
                scenario_version=scenario_version,
                step_content_hash=step_content_hash,
                include_channels=scope.include_channels,
                exclude_channels=scope.exclude_channels,
                include_steps=scope.include_current_nodes,
                exclude_steps=scope.exclude_current_nodes,
                created_since=created_since,
                created_until=created_until,
                after_activity=last[0],
                after_session=last[1],
                limit=limit,
                offset=offset,
            )
            return await self._database.fetch(*query)

        return await page(
            fetch,
            self._sessions.mapping.reader(tenant_id),
            lambda row: (row["last_activity_at"], row["session_id"]),
            after=(after.last_activity_at, after.session_id) if after else (None, None),
            limit=limit,
            offset=offset,
        )

    async def acquire_lock(
        self, session_id: UUID, owner: UUID, *, ttl: float = 30.0, tenant_id: UUID | None = None
    ) -> int | None:
        query = _by_id("acquire_lock", session_id, tenant_id, owner=owner, ttl=timedelta(seconds=ttl))
        row = await self._database.fetchrow(*query)
        if row is None:
            raise no_such_session()
        token: int | None = row["token"]
        return token

    async def release_lock(self, session_id: UUID, owner: UUID, *, tenant_id: UUID | None = None) -> bool:
        query = _by_id("release_lock", session_id, tenant_id, owner=owner)
        return await self._database.fetchval(*query) is not None

    async def sweep(self, *, limit: int = 1_000) -> Swept:
        check_unbound(self._tenant)
        return Swept(demoted=0, deleted=len(await self.remove_old(limit)))

    async def promote_to_hot(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        return False

    async def demote_to_persistent(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        return False

    def _on(self, database: Database) -> Self:
        twin = super()._on(database)
        twin._sessions = self._sessions.on(database)
        return twin

    async def _write(self, session: Session, *, overwrite: bool, fence: int | None) -> None:
        await self._sessions.write(session, overwrite=overwrite, fence=fence, invalidate_copies=False)

    async def _guarded(self, saves: Sequence[tuple[Session, bool]], write: GuardedWrite) -> None:
        """Run a write of sessions, of which there are no hot copies. As `TieredSessionStore._guarded`."""
        await write(invalidate_copies=False)

    # `SystemOfRecord`: called by the tiered store within its own calls.

    async def load(self, session_id: UUID, tenant_id: UUID | None = None) -> tuple[Session, int] | None:
        """Return a session and the generation of its tenant's hot copies, from one snapshot."""
        query = _by_id("get_session_and_generation", session_id, tenant_id)
        row = await self._database.fetchrow_together(*query)
        return (self._session(row, tenant_id or row["tenant_id"]), row["generation"]) if row else None

    async def load_or_create(self, session: Session) -> tuple[Session, int]:
        """Return the open session of a session's identity and agent, or save it as that one; and the generation."""
        return await self._sessions.load_or_create(session)

    async def write(self, session: Session, *, overwrite: bool, fence: int | None, invalidate_copies: bool) -> None:
        """Save a session; on request increment the generation of its tenant's hot copies in the same statement."""
        await self._sessions.write(session, overwrite=overwrite, fence=fence, invalidate_copies=invalidate_copies)

    async def remove(self, session_id: UUID, tenant_id: UUID | None, *, invalidate_copies: bool) -> bool:
        """Delete a session; on request increment the generation of its tenant's hot copies in the same statement."""
        if tenant_id is not None and await self._database.is_distributed():
            return await self._sessions.remove(tenant_id, session_id, invalidate_copies=invalidate_copies)
        given = {"invalidate_copies": invalidate_copies, "deadline": DEADLINE}
        query = _by_id("delete_session", session_id, tenant_id, **given)
        return await self._database.fetchrow_in_time(*query) is not None

    async def tenant_of(self, session_id: UUID) -> UUID | None:
        """Return the tenant that holds a session."""
        query = queries("session").tenant_of_session(session_id=session_id)
        holder: UUID | None = await self._database.fetchval(*query)
        return holder

    async def remove_old(self, limit: int) -> list[tuple[UUID, UUID]]:
        """Delete the oldest sessions past `max_age`, tenant by tenant; return the tenants and ids of those deleted.

        Pipelined in one transaction, except where tables are distributed: there each tenant's are deleted for good
        before the next one's, so a failure is raised only if nothing was deleted.
        """
        if self._max_age is None:
            return []
        before = self._clock() - self._max_age
        old = await self._database.fetch(*queries("session").old_sessions(before=before, limit=limit))
        delete = queries("session").delete_old_sessions
        each = [delete(tenant_id=tenant, session_ids=session_ids, before=before) for tenant, session_ids in old]
        if not await self._database.is_distributed():
            rows = await self._database.fetch_pipelined(delete.sql, (given[1:] for given in each)) if each else []
        else:
            rows, failures = [], []
            for query in each[:TENANTS_AT_ONCE]:
                try:
                    rows += await self._database.fetch(*query)
                except StoreError as failure:
                    failures.append(failure)
            if failures and not rows:
                raise failures[0]
        return [(row["tenant_id"], row["session_id"]) for row in rows]

    async def generation(self, tenant_id: UUID) -> int:
        """Return the generation of a tenant's hot copies."""
        return await self._database.fetchval(*queries("session").generation_of_copies(tenant_id=tenant_id)) or 0

    async def invalidate_copies(self, tenant_id: UUID) -> None:
        """Increment the generation of a tenant's hot copies, which invalidates them."""
        await self._database.fetchval(*queries("session").invalidate_copies(tenant_id=tenant_id))

    def _session(self, row: Any, tenant_id: UUID) -> Session:
        return self._sessions.mapping.model(row, tenant_id)


def _by_id(name: str, session_id: UUID, tenant_id: UUID | None, **given: Any) -> tuple[Any, ...]:
    """Return a named query of the session with an id, of a tenant or of the one that holds it, and its arguments."""
    if tenant_id is not None:
        name, given["tenant_id"] = f"{name}_of_tenant", tenant_id
    query: tuple[Any, ...] = getattr(queries("session"), name)(session_id=session_id, **given)
    return query
