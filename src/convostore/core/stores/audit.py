"""The audit store above the waist."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from convostore.contracts.audit import AuditStore
from convostore.core.entities import EVENT, TURN, Declaration
from convostore.core.tables import Table, Window
from convostore.models import AuditEvent, TurnRecord
from convostore.models.base import Model

M = TypeVar("M", bound=Model)


class TableAuditStore(AuditStore):
    """The whole contract; a backend only supplies the tables."""

    @abstractmethod
    def _table(self, declaration: Declaration[M]) -> Table[M]:
        """Return the table of an entity."""

    async def save_turn(self, turn: TurnRecord) -> UUID:
        await self._table(TURN).add(turn)
        return turn.turn_id

    async def get_turn(self, tenant_id: UUID, turn_id: UUID) -> TurnRecord | None:
        return await self._table(TURN).get(tenant_id, turn_id=turn_id)

    async def list_turns_by_session(
        self, tenant_id: UUID, session_id: UUID, *, limit: int = 100, offset: int = 0
    ) -> list[TurnRecord]:
        where = {"session_id": session_id}
        return await self._table(TURN).find(tenant_id, where, limit=limit, offset=offset, order=("turn_number",))

    async def list_turns_by_tenant(
        self,
        tenant_id: UUID,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[TurnRecord]:
        where = {"timestamp": Window(since, until)}
        return await self._table(TURN).find(tenant_id, where, limit=limit, offset=offset)

    async def save_event(self, event: AuditEvent) -> UUID:
        await self._table(EVENT).add(event)
        return event.id

    async def get_event(self, tenant_id: UUID, event_id: UUID) -> AuditEvent | None:
        return await self._table(EVENT).get(tenant_id, id=event_id)

    async def list_events(
        self,
        tenant_id: UUID,
        *,
        event_type: str | None = None,
        session_id: UUID | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[AuditEvent]:
        where = {"event_type": event_type, "session_id": session_id, "timestamp": Window(since, until)}
        return await self._table(EVENT).find(tenant_id, where, limit=limit, offset=offset)
