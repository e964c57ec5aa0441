"""A customer's timeline: sessions, turns and events in one list, newest first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

from convostore.contracts import AuditStore, SessionStore
from convostore.models import AuditEvent, Channel, Session, TurnRecord

__all__ = ["Entry", "EntryKind", "Position", "timeline"]

EntryKind: TypeAlias = Literal["event", "session", "turn"]

_NOBODY, _LAST = UUID(int=0), UUID(int=2**128 - 1)


class Position(NamedTuple):
    """Where an entry stands in a timeline: newest first, then by kind, then by id."""

    at: datetime
    kind: EntryKind
    id: UUID

    def behind(self, kind: EntryKind) -> tuple[datetime, UUID]:
        """Return the time and id behind which the entries of a kind go on, in a list by time and id."""
        if kind == self.kind:
            return self.at, self.id
        return (self.at, _LAST) if kind < self.kind else (self.at + timedelta(microseconds=1), _LAST)


class Entry(NamedTuple):
    """What happened, when: a turn, an event, or a session's latest activity."""

    position: Position
    item: AuditEvent | Session | TurnRecord


async def timeline(
    sessions: SessionStore,
    audit: AuditStore,
    tenant_id: UUID,
    customer_profile_id: UUID,
    *,
    after: Position | None = None,
    limit: int = 100,
) -> list[Entry]:
    """Return what happened with a customer, newest first, then by kind and id; empty if nothing did.

    What names the profile is found: a merge of profiles does not change what was recorded before.

    Args:
        sessions: the session store.
        audit: the audit store.
        tenant_id: the tenant.
        customer_profile_id: the customer's profile.
        after: the cursor of keyset pagination: only entries behind this one.
        limit: the maximum number of results, 1 to 1,000.

    Raises:
        ValidationError: the limit is out of bounds.
    """
    whose = (tenant_id, customer_profile_id)
    event, session, turn = _cursors(tenant_id, after) if after else (None, None, None)
    events, active, turns = await asyncio.gather(
        audit.list_events_by_customer(*whose, limit=limit, after=event),
        sessions.list_by_customer(*whose, limit=limit, after=session),
        audit.list_turns_by_customer(*whose, limit=limit, after=turn),
    )
    entries: Iterable[Entry] = (
        *(Entry(Position(each.timestamp, "event", each.id), each) for each in events),
        *(Entry(Position(each.last_activity_at, "session", each.session_id), each) for each in active),
        *(Entry(Position(each.timestamp, "turn", each.turn_id), each) for each in turns),
    )
    by_kind_and_id = sorted(entries, key=lambda entry: entry.position[1:])
    return sorted(by_kind_and_id, key=lambda entry: entry.position.at, reverse=True)[:limit]


def _cursors(tenant_id: UUID, after: Position) -> tuple[AuditEvent, Session, TurnRecord]:
    """Return what stands in each list where the entries behind a position begin."""
    event_at, event = after.behind("event")
    active_at, session = after.behind("session")
    turn_at, turn = after.behind("turn")
    return (
        AuditEvent(id=event, tenant_id=tenant_id, event_type="-", event_data={}, timestamp=event_at),
        Session(
            session_id=session,
            tenant_id=tenant_id,
            agent_id=_NOBODY,
            channel=Channel.API,
            user_channel_id="-",
            last_activity_at=active_at,
        ),
        TurnRecord(
            turn_id=turn,
            tenant_id=tenant_id,
            agent_id=_NOBODY,
            session_id=_NOBODY,
            turn_number=0,
            user_message="",
            agent_response="",
            latency_ms=0,
            tokens_used=0,
            timestamp=turn_at,
        ),
    )
