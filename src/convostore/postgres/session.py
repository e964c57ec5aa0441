"""The session store on PostgreSQL: one table, one tier, one statement per call."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from convostore.contracts.session import SessionStore
from convostore.core.entities import SESSION
from convostore.core.scope import check_supported, created_window
from convostore.models import Channel, ScopeFilter, Session, SessionStatus
from convostore.postgres.queries import queries
from convostore.postgres.store import PostgresStore


class PostgresSessionStore(PostgresStore, SessionStore):
    """Sessions on PostgreSQL. There is one tier, so nothing is ever promoted or demoted."""

    async def get(self, session_id: UUID, *, tenant_id: UUID | None = None) -> Session | None:
        row = await self._database.fetchrow(queries("session")["get_session"], session_id, tenant_id)
        return self._session(row, tenant_id or row["tenant_id"]) if row else None

    async def save(self, session: Session, *, overwrite: bool = False) -> UUID:
        await self._table(SESSION).save(session, overwrite=overwrite)
        return session.session_id

    async def delete(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        query = queries("session")["delete_session"]
        return await self._database.fetchval(query, session_id, tenant_id) is not None

    async def get_by_channel(self, tenant_id: UUID, channel: Channel, user_channel_id: str) -> Session | None:
        query = queries("session")["session_by_channel"]
        row = await self._database.fetchrow(query, tenant_id, channel, user_channel_id)
        return self._session(row, tenant_id) if row else None

    async def list_by_agent(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        status: SessionStatus | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Session]:
        where = {"agent_id": agent_id, "status": status}
        return await self._table(SESSION).find(tenant_id, where, limit=limit, offset=offset)

    async def list_by_customer(
        self, tenant_id: UUID, customer_profile_id: UUID, *, limit: int = 100, offset: int = 0
    ) -> list[Session]:
        where = {"customer_profile_id": customer_profile_id}
        return await self._table(SESSION).find(tenant_id, where, limit=limit, offset=offset)

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
        scope = scope_filter or ScopeFilter()
        rows = await self._database.fetch(
            queries("session")["sessions_at_step"],
            *(tenant_id, scenario_id, scenario_version, step_content_hash),
            *(scope.include_channels, scope.exclude_channels),
            *(scope.include_current_nodes, scope.exclude_current_nodes),
            *created_window(scope, self._clock()),
            *(limit, offset),
        )
        return [self._session(row, tenant_id) for row in rows]

    async def promote_to_hot(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        return False

    async def demote_to_persistent(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        return False

    def _session(self, row: Any, tenant_id: UUID) -> Session:
        return self._table(SESSION).mapping.model(row, tenant_id)
