"""The contract of audit stores: many turns or events in one call."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from convostore.contracts import AuditStore
from convostore.errors import ConflictError, ValidationError
from convostore.models import TurnRecord
from convostore.testing.base import StoreContract
from convostore.testing.factories import full_event, full_turn, make_event, make_turn


def conversation(tenant: UUID, *sessions: UUID, turns: int = 3) -> list[TurnRecord]:
    """Return turns of several sessions, one of each in turn."""
    return [make_turn(tenant, session_id=session, turn_number=n) for n in range(turns) for session in sessions]


class AuditBatchContract(StoreContract):
    """Batches are all or nothing, and otherwise what saving one by one is."""

    async def test_turns_saved_together_are_read_back_equal(self, store: AuditStore) -> None:
        tenant = uuid4()
        turns = [full_turn(tenant), *conversation(tenant, uuid4(), uuid4())]
        assert await store.save_turns(turns) == [turn.turn_id for turn in turns]
        assert [await store.get_turn(tenant, turn.turn_id) for turn in turns] == turns
        assert (await store.verify(tenant)).records == 7

    async def test_events_saved_together_are_read_back_equal(self, store: AuditStore) -> None:
        tenant = uuid4()
        events = [full_event(tenant), make_event(tenant), make_event(tenant, session_id=uuid4())]
        assert await store.save_events(events) == [event.id for event in events]
        assert [await store.get_event(tenant, event.id) for event in events] == events

    async def test_a_batch_is_recorded_in_its_order(self, store: AuditStore) -> None:
        tenant, sessions = uuid4(), (uuid4(), uuid4())
        turns = conversation(tenant, *sessions)[::-1]
        await store.save_turns(turns)
        for session in sessions:
            records = await store.list_records(tenant, session_id=session)
            assert [record.record_id for record in records] == [t.turn_id for t in turns if t.session_id == session]
            assert [record.sequence for record in records] == [1, 2, 3]

    async def test_what_is_there_already_is_passed_over(self, store: AuditStore) -> None:
        tenant, session = uuid4(), uuid4()
        turns = conversation(tenant, session)
        await store.save_turn(turns[1])
        await store.save_turns([turns[0], turns[0], *turns])
        await store.save_turns(turns)
        records = await store.list_records(tenant, session_id=session)
        assert [record.record_id for record in records] == [turns[n].turn_id for n in (1, 0, 2)]

    async def test_one_that_is_refused_refuses_all(self, store: AuditStore) -> None:
        tenant, session = uuid4(), uuid4()
        first, *others = conversation(tenant, session)
        await store.save_turn(first)
        for wrong in (
            first.model_copy(update={"user_message": "other"}),
            first.model_copy(update={"turn_id": uuid4()}),
            others[0].model_copy(update={"turn_id": uuid4()}),
            others[0].model_copy(update={"turn_number": 9}),
        ):
            with pytest.raises(ConflictError) as caught:
                await store.save_turns([*others, make_turn(tenant), wrong])
            assert caught.value.code in ("audit_record_pkey", "turn_session_id_turn_number_key")
        assert await store.list_turns_by_tenant(tenant) == [first]
        assert (await store.verify(tenant)).records == 1
        event = make_event(tenant)
        with pytest.raises(ConflictError) as caught:
            await store.save_events([event, event.model_copy(update={"event_type": "other"})])
        assert caught.value.code == "audit_record_pkey"
        assert await store.list_events(tenant) == []

    async def test_an_empty_batch_is_a_no_op_and_too_many_or_a_second_tenant_are_refused(
        self, store: AuditStore
    ) -> None:
        assert await store.save_turns([]) == []
        assert await store.save_events([]) == []
        turn = make_turn(uuid4())
        with pytest.raises(ValidationError, match="turns"):
            await store.save_turns([turn] * 1_001)
        with pytest.raises(ValidationError, match="one tenant"):
            await store.save_turns([turn, make_turn(uuid4())])
        assert await store.get_turn(turn.tenant_id, turn.turn_id) is None

    async def test_concurrent_appends_to_the_same_chains_all_succeed(self, store: AuditStore) -> None:
        tenant, sessions = uuid4(), [uuid4() for _ in range(5)]
        batches = [
            [make_turn(tenant, session_id=session, turn_number=number) for session in sessions[:: (-1) ** number]]
            for number in range(10)
        ]
        await asyncio.gather(*(store.save_turns(batch) for batch in (*batches, *batches)))
        result = await store.verify(tenant)
        assert (result.ok, result.chains, result.records, result.bodies) == (True, 5, 50, 50)
