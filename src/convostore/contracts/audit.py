"""The contract of the audit store: what happened."""

from __future__ import annotations

from abc import abstractmethod
from uuid import UUID

from convostore.core.boundary import Store
from convostore.core.operations import writes
from convostore.core.validation import Limit, Offset
from convostore.models.audit import AuditEvent, TurnRecord
from convostore.models.fields import TypeName, UtcDatetime


class AuditStore(Store):
    """Turns and events that can be added and read, never changed or deleted.

    Saving the same record again does nothing. Windows are half-open: `since` ≤ timestamp < `until`.
    """

    kind = "audit"

    @abstractmethod
    @writes
    async def save_turn(self, turn: TurnRecord) -> UUID:
        """Record a turn and return its id.

        Raises:
            ConflictError: the id, or the session's turn number, is taken by another record.
        """

    @abstractmethod
    async def get_turn(self, tenant_id: UUID, turn_id: UUID) -> TurnRecord | None:
        """Return a turn, or None."""

    @abstractmethod
    async def list_turns_by_session(
        self, tenant_id: UUID, session_id: UUID, *, limit: Limit = 100, offset: Offset = 0
    ) -> list[TurnRecord]:
        """Return a session's turns by `turn_number`; empty if there are none.

        Args:
            tenant_id: the tenant.
            session_id: the session.
            limit: how many at most, 1 to 1,000.
            offset: how many to skip, 0 to 10,000.
        """

    @abstractmethod
    async def list_turns_by_tenant(
        self,
        tenant_id: UUID,
        *,
        since: UtcDatetime | None = None,
        until: UtcDatetime | None = None,
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> list[TurnRecord]:
        """Return a tenant's turns by `timestamp`, newest first, then by id; empty if there are none.

        Args:
            tenant_id: the tenant.
            since: only turns at or after this moment.
            until: only turns before this moment.
            limit: how many at most, 1 to 1,000.
            offset: how many to skip, 0 to 10,000.
        """

    @abstractmethod
    @writes
    async def save_event(self, event: AuditEvent) -> UUID:
        """Record an event and return its id.

        Raises:
            ConflictError: the id is taken by another record.
        """

    @abstractmethod
    async def get_event(self, tenant_id: UUID, event_id: UUID) -> AuditEvent | None:
        """Return an event, or None."""

    @abstractmethod
    async def list_events(
        self,
        tenant_id: UUID,
        *,
        event_type: TypeName | None = None,
        session_id: UUID | None = None,
        since: UtcDatetime | None = None,
        until: UtcDatetime | None = None,
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> list[AuditEvent]:
        """Return a tenant's events by `timestamp`, newest first, then by id; empty if there are none.

        Args:
            tenant_id: the tenant.
            event_type: only events of this type.
            session_id: only events of this session.
            since: only events at or after this moment.
            until: only events before this moment.
            limit: how many at most, 1 to 1,000.
            offset: how many to skip, 0 to 10,000.
        """
