"""The contract of the audit store: what happened."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated
from uuid import UUID

from pydantic import Field

from convostore.call.effects import idempotent
from convostore.call.paging import paginate
from convostore.call.validation import Limit, Offset
from convostore.contracts.records import Records
from convostore.models.audit import AuditEvent, TurnRecord
from convostore.models.fields import TypeName, UtcDatetime

_MANY = Field(max_length=1_000)


class AuditStore(Records):
    """Turns and events, which can be added and read, never changed or deleted.

    Saving the same record again is a no-op. Windows are half-open: `since` ≤ timestamp < `until`. `after` is the cursor
    of keyset pagination: the last item of the page before. `iter_…` streams a whole list page by page and holds no
    connection between pages.

    **Records.** Whatever is saved becomes a record in a hash chain, in the order of arrival: one chain per session, and
    one per tenant for events without a session. `verify` finds a record that was changed, removed or reordered by
    whatever means, and with an anchor kept elsewhere even a chain that was recomputed. Bodies, the turns and events
    themselves, can be dropped by the month of their arrival; their records stay. What has no body is in no list of
    turns or events.
    """

    kind = "audit"

    @abstractmethod
    @idempotent
    async def save_turn(self, turn: TurnRecord) -> UUID:
        """Record a turn and return its id.

        Raises:
            ConflictError: the id, or the session's turn number, exists with other content.
        """

    @abstractmethod
    @idempotent
    async def save_turns(self, turns: Annotated[list[TurnRecord], _MANY]) -> list[UUID]:
        """Record turns of one tenant in the order given, all or none, and return their ids in that order.

        Args:
            turns: at most 1,000, of any sessions.

        Raises:
            ConflictError: an id, or a session's turn number, exists with other content, in the store or in the list.
        """

    @abstractmethod
    async def get_turn(self, tenant_id: UUID, turn_id: UUID) -> TurnRecord | None:
        """Return a turn, or None."""

    @abstractmethod
    async def list_turns_by_session(
        self,
        tenant_id: UUID,
        session_id: UUID,
        *,
        limit: Limit = 100,
        offset: Offset = 0,
        after: TurnRecord | None = None,
    ) -> list[TurnRecord]:
        """Return a session's turns by `turn_number`; empty if there are none.

        Args:
            tenant_id: the tenant.
            session_id: the session.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_turns_by_session(self, tenant_id: UUID, session_id: UUID) -> AsyncIterator[TurnRecord]:
        """Yield all of a session's turns by `turn_number`."""
        return paginate(partial(self.list_turns_by_session, tenant_id, session_id))

    @abstractmethod
    async def list_turns_by_tenant(
        self,
        tenant_id: UUID,
        *,
        since: UtcDatetime | None = None,
        until: UtcDatetime | None = None,
        limit: Limit = 100,
        offset: Offset = 0,
        after: TurnRecord | None = None,
    ) -> list[TurnRecord]:
        """Return a tenant's turns by `timestamp`, newest first, then by id; empty if there are none.

        Args:
            tenant_id: the tenant.
            since: only turns at or after this moment.
            until: only turns before this moment.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_turns_by_tenant(
        self, tenant_id: UUID, *, since: UtcDatetime | None = None, until: UtcDatetime | None = None
    ) -> AsyncIterator[TurnRecord]:
        """Yield all of a tenant's turns by `timestamp`, newest first, then by id.

        Args:
            tenant_id: the tenant.
            since: only turns at or after this moment.
            until: only turns before this moment.
        """
        return paginate(partial(self.list_turns_by_tenant, tenant_id, since=since, until=until))

    @abstractmethod
    async def list_turns_by_customer(
        self,
        tenant_id: UUID,
        customer_profile_id: UUID,
        *,
        limit: Limit = 100,
        offset: Offset = 0,
        after: TurnRecord | None = None,
    ) -> list[TurnRecord]:
        """Return a customer's turns by `timestamp`, newest first, then by id; empty if there are none.

        Only turns that name the profile are found; a merge of profiles does not change what was recorded.

        Args:
            tenant_id: the tenant.
            customer_profile_id: the customer's profile.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_turns_by_customer(self, tenant_id: UUID, customer_profile_id: UUID) -> AsyncIterator[TurnRecord]:
        """Yield all of a customer's turns by `timestamp`, newest first, then by id."""
        return paginate(partial(self.list_turns_by_customer, tenant_id, customer_profile_id))

    @abstractmethod
    @idempotent
    async def save_event(self, event: AuditEvent) -> UUID:
        """Record an event and return its id.

        Raises:
            ConflictError: the id exists with other content.
        """

    @abstractmethod
    @idempotent
    async def save_events(self, events: Annotated[list[AuditEvent], _MANY]) -> list[UUID]:
        """Record events of one tenant in the order given, all or none, and return their ids in that order.

        Args:
            events: at most 1,000, of any sessions or none.

        Raises:
            ConflictError: an id exists with other content, in the store or in the list.
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
        turn_id: UUID | None = None,
        since: UtcDatetime | None = None,
        until: UtcDatetime | None = None,
        limit: Limit = 100,
        offset: Offset = 0,
        after: AuditEvent | None = None,
    ) -> list[AuditEvent]:
        """Return a tenant's events by `timestamp`, newest first, then by id; empty if there are none.

        Args:
            tenant_id: the tenant.
            event_type: only events of this type.
            session_id: only events of this session.
            turn_id: only events of this turn.
            since: only events at or after this moment.
            until: only events before this moment.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_events(
        self,
        tenant_id: UUID,
        *,
        event_type: TypeName | None = None,
        session_id: UUID | None = None,
        turn_id: UUID | None = None,
        since: UtcDatetime | None = None,
        until: UtcDatetime | None = None,
    ) -> AsyncIterator[AuditEvent]:
        """Yield all of a tenant's events by `timestamp`, newest first, then by id.

        Args:
            tenant_id: the tenant.
            event_type: this and the next four as in `list_events`.
        """
        return paginate(
            partial(
                self.list_events,
                tenant_id,
                event_type=event_type,
                session_id=session_id,
                turn_id=turn_id,
                since=since,
                until=until,
            )
        )

    @abstractmethod
    async def list_events_by_customer(
        self,
        tenant_id: UUID,
        customer_profile_id: UUID,
        *,
        limit: Limit = 100,
        offset: Offset = 0,
        after: AuditEvent | None = None,
    ) -> list[AuditEvent]:
        """Return a customer's events by `timestamp`, newest first, then by id; empty if there are none.

        Only events that name the profile are found; a merge of profiles does not change what was recorded.

        Args:
            tenant_id: the tenant.
            customer_profile_id: the customer's profile.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_events_by_customer(self, tenant_id: UUID, customer_profile_id: UUID) -> AsyncIterator[AuditEvent]:
        """Yield all of a customer's events by `timestamp`, newest first, then by id."""
        return paginate(partial(self.list_events_by_customer, tenant_id, customer_profile_id))
