"""The audit store over record types: turns and events are saved and found alike."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from convostore.contracts.audit import AuditStore
from convostore.domain.declaration import RecordType
from convostore.domain.declarations import EVENT, TURN
from convostore.models import AuditEvent, TurnRecord
from convostore.models.base import Model

M = TypeVar("M", bound=Model)


class BodyAuditStore(AuditStore):
    """Everything but chains, verification and retention; a backend records and finds bodies."""

    @abstractmethod
    async def _record(self, record_type: RecordType[M], items: Sequence[M]) -> None:
        """Record items of one tenant in their order, all or none.

        Raises:
            ConflictError: an id or a turn number exists with other content.
        """

    async def _record_at_once(self, records: Sequence[tuple[RecordType[Any], Model]]) -> bool:
        """Record turns and events of one tenant in their order, or record none and return False.

        A backend for which each costs a round trip overrides this.
        """
        return False

    @abstractmethod
    async def _get(self, record_type: RecordType[M], tenant_id: UUID, record_id: UUID) -> M | None:
        """Return the item with an id, or None."""

    @abstractmethod
    async def _find(
        self,
        record_type: RecordType[M],
        tenant_id: UUID,
        where: dict[str, Any],
        *,
        limit: int,
        offset: int,
        after: M | None,
    ) -> list[M]:
        """Return the items that match, by `timestamp`, newest first, then by id.

        `where` has fields and their values, `since` and `until`; None matches any. `after` is the cursor.
        """

    async def save_turn(self, turn: TurnRecord) -> UUID:
        await self._record(TURN, [turn])
        return turn.turn_id

    async def save_turns(self, turns: list[TurnRecord]) -> list[UUID]:
        await self._record(TURN, turns)
        return [turn.turn_id for turn in turns]

    async def get_turn(self, tenant_id: UUID, turn_id: UUID) -> TurnRecord | None:
        return await self._get(TURN, tenant_id, turn_id)

    async def list_turns_by_tenant(
        self,
        tenant_id: UUID,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        offset: int = 0,
        after: TurnRecord | None = None,
    ) -> list[TurnRecord]:
        where = {"since": since, "until": until}
        return await self._find(TURN, tenant_id, where, limit=limit, offset=offset, after=after)

    async def list_turns_by_customer(
        self,
        tenant_id: UUID,
        customer_profile_id: UUID,
        *,
        limit: int = 100,
        offset: int = 0,
        after: TurnRecord | None = None,
    ) -> list[TurnRecord]:
        where = {"customer_profile_id": customer_profile_id}
        return await self._find(TURN, tenant_id, where, limit=limit, offset=offset, after=after)

    async def save_event(self, event: AuditEvent) -> UUID:
        await self._record(EVENT, [event])
        return event.id

    async def save_events(self, events: list[AuditEvent]) -> list[UUID]:
        await self._record(EVENT, events)
        return [event.id for event in events]

    async def get_event(self, tenant_id: UUID, event_id: UUID) -> AuditEvent | None:
        return await self._get(EVENT, tenant_id, event_id)

    async def list_events(
        self,
        tenant_id: UUID,
        *,
        event_type: str | None = None,
        session_id: UUID | None = None,
        turn_id: UUID | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        offset: int = 0,
        after: AuditEvent | None = None,
    ) -> list[AuditEvent]:
        where = {
            "event_type": event_type,
            "session_id": session_id,
            "turn_id": turn_id,
            "since": since,
            "until": until,
        }
        return await self._find(EVENT, tenant_id, where, limit=limit, offset=offset, after=after)

    async def list_events_by_customer(
        self,
        tenant_id: UUID,
        customer_profile_id: UUID,
        *,
        limit: int = 100,
        offset: int = 0,
        after: AuditEvent | None = None,
    ) -> list[AuditEvent]:
        where = {"customer_profile_id": customer_profile_id}
        return await self._find(EVENT, tenant_id, where, limit=limit, offset=offset, after=after)
