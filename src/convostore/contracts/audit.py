"""The contract of the audit store: what happened."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from datetime import date
from functools import partial
from typing import Annotated
from uuid import UUID

from pydantic import Field

from convostore.call.effects import idempotent, non_idempotent
from convostore.call.paging import paginate
from convostore.call.store import Store, checked
from convostore.call.validation import Limit, Offset
from convostore.domain import audit_trail
from convostore.models.audit import (
    AuditAnchor,
    AuditBody,
    AuditEvent,
    AuditHead,
    AuditRecord,
    AuditVerification,
    TurnRecord,
)
from convostore.models.fields import TypeName, UtcDatetime

_MANY = Field(max_length=1_000)


class AuditStore(Store):
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

    @abstractmethod
    async def list_records(
        self,
        tenant_id: UUID,
        *,
        session_id: UUID | None = None,
        limit: Limit = 100,
        offset: Offset = 0,
        after: AuditRecord | None = None,
    ) -> list[AuditRecord]:
        """Return a tenant's records with their bodies: the tenant's own chain, then those of sessions by id.

        Args:
            tenant_id: the tenant.
            session_id: only the chain of this session.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_records(self, tenant_id: UUID, *, session_id: UUID | None = None) -> AsyncIterator[AuditRecord]:
        """Yield all of a tenant's records, or those of one session, as `list_records` orders them."""
        return paginate(partial(self.list_records, tenant_id, session_id=session_id))

    @abstractmethod
    async def list_heads(
        self,
        tenant_id: UUID,
        *,
        session_id: UUID | None = None,
        limit: Limit = 100,
        offset: Offset = 0,
        after: AuditHead | None = None,
    ) -> list[AuditHead]:
        """Return the heads of a tenant's chains: its own, then those of sessions by id; empty if there are none.

        Args:
            tenant_id: the tenant.
            session_id: only the chain of this session.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    @abstractmethod
    async def list_bodies(
        self, tenant_id: UUID, *, limit: Limit = 100, offset: Offset = 0, after: AuditBody | None = None
    ) -> list[AuditBody]:
        """Return where a tenant's bodies are kept, by kind, then id, then arrival; empty if there are none.

        Args:
            tenant_id: the tenant.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    @checked
    async def verify(
        self,
        tenant_id: UUID,
        session_id: UUID | None = None,
        anchor: AuditAnchor | list[AuditAnchor] | None = None,
        *,
        from_anchor: bool = False,
        limit: Limit | None = None,
        after: AuditVerification | None = None,
    ) -> AuditVerification:
        """Verify a session's chain, or all chains of a tenant, with their bodies, up to the first problem.

        Records, heads, bodies and the months noted as dropped must agree. For a tenant or session without any record
        `ok` is False and the problem is `unknown`. Bodies without a record are looked for only if all chains are
        verified from the beginning. It reads page by page, in bounded memory; the deadline is that of a page.

        With a `limit` this is one step of a verification. While `next` of a result is not None, give the result to the
        next step as `after`, with the same arguments otherwise, at once or later in another process; the figures go on
        counting.

        Args:
            tenant_id: the tenant.
            session_id: only the chain of this session.
            anchor: the `head` of an earlier verification, or several, of any of these chains.
            from_anchor: whether a chain is read from its latest anchor on, not from its beginning: only what is new
                since the earlier verification is read.
            limit: the maximum number of records, of heads and of bodies that are read, 1 to 1,000; None for all.
            after: the result of the step before; None begins.

        Raises:
            ValidationError: an anchor, or the place where `after` ended, is not of these chains.
        """
        return await audit_trail.verify(
            self, tenant_id, session_id, anchor, from_anchor=from_anchor, limit=limit, after=after
        )

    def iter_anchors(self, tenant_id: UUID) -> AsyncIterator[AuditAnchor]:
        """Yield the end of every chain of a tenant. Keep them elsewhere, as anchors of later verifications."""
        return audit_trail.anchors_of(self, tenant_id)

    def export(self, tenant_id: UUID, *, session_id: UUID | None = None) -> AsyncIterator[str]:
        """Yield a tenant's records, or those of one session, as lines of JSON that `verify_export.py` verifies.

        The last line says how many there are.
        """
        return audit_trail.exported(self, tenant_id, session_id)

    @abstractmethod
    @idempotent
    async def prepare_months(self) -> int:
        """Create the partitions of this month and the next three; return how many were missing.

        Saving does not depend on it: it creates a missing partition itself. `open_stores` calls it regularly.
        """

    @abstractmethod
    @non_idempotent
    async def drop_bodies(self, *, before: UtcDatetime) -> list[date]:
        """Drop the bodies of all tenants recorded in months that had ended by a moment; return these months.

        A month is that of UTC, returned as its first day. It is closed then: saving something new by a clock that still
        shows it is a `ValidationError`. Records stay, and show whose bodies were dropped. On PostgreSQL this takes a
        pool of the role `convostore_maintenance`.

        Args:
            before: the moment, not in the future.

        Raises:
            ValidationError: the moment lies in the future, or the store is bound to a tenant.
        """
