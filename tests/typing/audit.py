"""The audit store as its callers see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import assert_type
from uuid import UUID

from convostore.contracts import AuditStore
from convostore.models import (
    AuditAnchor,
    AuditBody,
    AuditEvent,
    AuditHead,
    AuditProblem,
    AuditRecord,
    AuditVerification,
    TurnRecord,
)


async def turns(store: AuditStore, turn: TurnRecord, id: UUID, moment: datetime) -> None:
    assert_type(await store.save_turn(turn), UUID)
    assert_type(await store.save_turns([turn]), list[UUID])
    assert_type(await store.get_turn(id, id), TurnRecord | None)
    assert_type(await store.list_turns_by_session(id, id, after=turn), list[TurnRecord])
    assert_type(await store.list_turns_by_tenant(id, since=moment, until=None), list[TurnRecord])
    assert_type(store.iter_turns_by_session(id, id), AsyncIterator[TurnRecord])
    assert_type(store.iter_turns_by_tenant(id), AsyncIterator[TurnRecord])
    assert_type(await store.list_turns_by_customer(id, id, after=turn), list[TurnRecord])
    assert_type(store.iter_turns_by_customer(id, id), AsyncIterator[TurnRecord])


async def events(store: AuditStore, event: AuditEvent, id: UUID) -> None:
    assert_type(await store.save_event(event), UUID)
    assert_type(await store.save_events([event]), list[UUID])
    assert_type(await store.get_event(id, id), AuditEvent | None)
    assert_type(await store.list_events(id, event_type="handover"), list[AuditEvent])
    assert_type(store.iter_events(id, session_id=id), AsyncIterator[AuditEvent])
    assert_type(await store.list_events_by_customer(id, id, after=event), list[AuditEvent])
    assert_type(store.iter_events_by_customer(id, id), AsyncIterator[AuditEvent])


async def chains(store: AuditStore, anchor: AuditAnchor, id: UUID) -> None:
    assert_type(await store.list_records(id, session_id=id), list[AuditRecord])
    assert_type(store.iter_records(id), AsyncIterator[AuditRecord])
    assert_type(await store.list_heads(id), list[AuditHead])
    assert_type(await store.list_bodies(id), list[AuditBody])
    verification = await store.verify(id, id, [anchor])
    assert_type(verification, AuditVerification)
    assert_type(verification.problem, AuditProblem | None)
    async for kept in store.iter_anchors(id):
        assert_type(kept, AuditAnchor)
    async for line in store.export(id):
        assert_type(line, str)


async def retention(store: AuditStore, before: datetime) -> None:
    assert_type(await store.prepare_months(), int)
    assert_type(await store.drop_bodies(before=before), list[date])


async def views_of_a_store(store: AuditStore, tenant_id: UUID) -> None:
    assert_type(store.for_tenant(tenant_id), AuditStore)
    assert_type(store.within(60), AuditStore)


async def what_is_refused(store: AuditStore, turn: TurnRecord, event: AuditEvent) -> None:
    await store.save_turn(event)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.save_events(event)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.verify(turn.tenant_id, anchor=turn)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.list_events(turn.tenant_id, after=turn)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.drop_bodies(turn.timestamp)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
