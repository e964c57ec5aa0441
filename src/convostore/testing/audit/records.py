"""The contract of audit stores."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import AuditStore
from convostore.errors import ConflictError, ValidationError
from convostore.models import AuditEvent, TurnRecord
from convostore.testing.base import StoreContract
from convostore.testing.factories import at, full_event, full_turn, make_event, make_turn


async def save_turns(store: AuditStore, tenant: UUID, *changes: dict[str, Any]) -> list[TurnRecord]:
    """Save one turn for each set of changes."""
    turns = [make_turn(tenant, **change) for change in changes]
    for turn in turns:
        await store.save_turn(turn)
    return turns


async def save_events(store: AuditStore, tenant: UUID, *changes: dict[str, Any]) -> list[AuditEvent]:
    """Save one event for each set of changes."""
    events = [make_event(tenant, **change) for change in changes]
    for event in events:
        await store.save_event(event)
    return events


class TurnContract(StoreContract):
    """Turns."""

    async def test_a_turn_is_read_back_equal(self, store: AuditStore) -> None:
        for turn in (make_turn(uuid4()), full_turn(uuid4())):
            assert await store.save_turn(turn) == turn.turn_id
            assert await store.get_turn(turn.tenant_id, turn.turn_id) == turn

    async def test_saving_a_turn_again_is_a_no_op_and_other_content_a_conflict(self, store: AuditStore) -> None:
        turns = [full_turn(uuid4()) for _ in range(20)]
        for turn in turns:
            await asyncio.gather(*(store.save_turn(turn) for _ in range(8)))
        turn = turns[0]
        with pytest.raises(ConflictError) as caught:
            await store.save_turn(turn.model_copy(update={"agent_response": "other"}))
        assert caught.value.code == "audit_record_pkey"
        assert await store.list_turns_by_session(turn.tenant_id, turn.session_id) == [turn]

    async def test_a_turn_number_is_unique_per_session(self, store: AuditStore) -> None:
        turn = make_turn(uuid4())
        await store.save_turn(turn)
        rival = turn.model_copy(update={"turn_id": uuid4()})
        with pytest.raises(ConflictError) as caught:
            await store.save_turn(rival)
        assert caught.value.code == "turn_session_id_turn_number_key"
        assert await store.get_turn(turn.tenant_id, rival.turn_id) is None
        await store.save_turn(rival.model_copy(update={"session_id": uuid4()}))

    async def test_of_many_concurrent_turns_with_one_number_one_wins(self, store: AuditStore) -> None:
        tenant, session = uuid4(), uuid4()
        turns = [make_turn(tenant, session_id=session) for _ in range(10)]
        results = await asyncio.gather(*map(store.save_turn, turns), return_exceptions=True)
        assert sum(isinstance(result, ConflictError) for result in results) == 9
        assert len(await store.list_turns_by_session(tenant, session)) == 1

    async def test_a_session_lists_its_turns_by_number(self, store: AuditStore) -> None:
        tenant, session = uuid4(), uuid4()
        three, one, two = await save_turns(
            store, tenant, *({"session_id": session, "turn_number": n, "timestamp": at(-n)} for n in (3, 1, 2))
        )
        await save_turns(store, tenant, {})
        assert await store.list_turns_by_session(tenant, session) == [one, two, three]
        assert await store.list_turns_by_session(tenant, session, limit=1, offset=1) == [two]
        assert await store.list_turns_by_session(tenant, session, offset=3) == []
        assert await store.list_turns_by_session(tenant, session, after=one) == [two, three]
        assert await store.list_turns_by_session(tenant, session, after=one, limit=1, offset=1) == [three]
        assert [turn async for turn in store.iter_turns_by_session(tenant, session)] == [one, two, three]

    async def test_a_tenant_lists_its_turns_newest_first_then_by_id(self, store: AuditStore) -> None:
        tenant = uuid4()
        old, b, a, new = await save_turns(
            store,
            tenant,
            {"timestamp": at(1)},
            {"timestamp": at(2), "turn_id": UUID(int=2)},
            {"timestamp": at(2), "turn_id": UUID(int=1)},
            {"timestamp": at(3)},
        )
        assert await store.list_turns_by_tenant(tenant) == [new, a, b, old]
        assert await store.list_turns_by_tenant(tenant, limit=2, offset=1) == [a, b]
        assert await store.list_turns_by_tenant(tenant, after=a) == [b, old]
        assert await store.list_turns_by_tenant(tenant, after=new, limit=1, offset=1) == [b]
        assert await store.list_turns_by_tenant(tenant, after=new, since=at(2)) == [a, b]
        assert [turn async for turn in store.iter_turns_by_tenant(tenant, until=at(3))] == [a, b, old]

    async def test_a_customers_turns_are_found_newest_first(self, store: AuditStore) -> None:
        tenant, customer = uuid4(), uuid4()
        old, b, a, new, _, _ = await save_turns(
            store,
            tenant,
            {"timestamp": at(1), "customer_profile_id": customer},
            {"timestamp": at(2), "customer_profile_id": customer, "turn_id": UUID(int=2)},
            {"timestamp": at(2), "customer_profile_id": customer, "turn_id": UUID(int=1)},
            {"timestamp": at(3), "customer_profile_id": customer},
            {"timestamp": at(2), "customer_profile_id": uuid4()},
            {"timestamp": at(2)},
        )
        await save_turns(store, uuid4(), {"customer_profile_id": customer})
        await save_events(store, tenant, {"customer_profile_id": customer})
        found = store.list_turns_by_customer
        assert await found(tenant, customer) == [new, a, b, old]
        assert await found(tenant, customer, limit=2, offset=1) == [a, b]
        assert await found(tenant, customer, after=a) == [b, old]
        assert await found(tenant, customer, after=new, limit=1, offset=1) == [b]
        assert await found(tenant, uuid4()) == []
        assert [turn async for turn in store.iter_turns_by_customer(tenant, customer)] == [new, a, b, old]

    async def test_a_window_includes_its_start_and_not_its_end(self, store: AuditStore) -> None:
        tenant = uuid4()
        one, two, three = await save_turns(store, tenant, *({"timestamp": at(n)} for n in (1, 2, 3)))
        assert await store.list_turns_by_tenant(tenant, since=at(2)) == [three, two]
        assert await store.list_turns_by_tenant(tenant, until=at(2)) == [one]
        assert await store.list_turns_by_tenant(tenant, since=at(1), until=at(3)) == [two, one]
        assert await store.list_turns_by_tenant(tenant, since=at(2), until=at(2)) == []
        with pytest.raises(ValidationError, match="since"):
            await store.list_turns_by_tenant(tenant, since=at(1).replace(tzinfo=None))

    async def test_a_stream_spans_pages_of_equal_times(self, store: AuditStore) -> None:
        tenant, session = uuid4(), uuid4()
        changes = ({"session_id": session, "turn_number": n, "timestamp": at(n // 150)} for n in range(450))
        turns = [make_turn(tenant, **change) for change in changes]
        await store.save_turns(turns)
        assert [turn async for turn in store.iter_turns_by_session(tenant, session)] == turns
        expected = sorted(turns, key=lambda turn: (-turn.timestamp.timestamp(), turn.turn_id))
        assert [turn async for turn in store.iter_turns_by_tenant(tenant)] == expected

    async def test_any_time_is_accepted(self, store: AuditStore) -> None:
        tenant = uuid4()
        times = [datetime(1, 1, 1, microsecond=1, tzinfo=UTC), datetime(9998, 12, 31, 23, 59, 59, 999_999, UTC)]
        turns = await save_turns(store, tenant, *({"timestamp": time} for time in times))
        assert await store.list_turns_by_tenant(tenant) == turns[::-1]
        assert await store.list_turns_by_tenant(tenant, since=times[1]) == turns[1:]

    async def test_tenants_do_not_see_each_other(self, store: AuditStore) -> None:
        mine = make_turn(uuid4())
        await store.save_turn(mine)
        tenant = uuid4()
        assert await store.get_turn(tenant, mine.turn_id) is None
        assert await store.list_turns_by_session(tenant, mine.session_id) == []
        assert await store.list_turns_by_tenant(tenant) == []
        theirs = mine.model_copy(update={"tenant_id": tenant, "user_message": "theirs"})
        await store.save_turn(theirs)
        assert await store.get_turn(mine.tenant_id, mine.turn_id) == mine

    async def test_what_became_invalid_is_refused(self, store: AuditStore) -> None:
        turn = full_turn(uuid4())
        turn.tool_calls[0].input["x"] = float("inf")
        with pytest.raises(ValidationError, match="tool_calls"):
            await store.save_turn(turn)
        assert await store.get_turn(turn.tenant_id, turn.turn_id) is None


class EventContract(StoreContract):
    """Events."""

    async def test_an_event_is_read_back_equal(self, store: AuditStore) -> None:
        for event in (make_event(uuid4()), full_event(uuid4())):
            assert await store.save_event(event) == event.id
            assert await store.get_event(event.tenant_id, event.id) == event

    async def test_saving_an_event_again_is_a_no_op_and_other_content_a_conflict(self, store: AuditStore) -> None:
        event = full_event(uuid4())
        await asyncio.gather(*(store.save_event(event) for _ in range(5)))
        with pytest.raises(ConflictError) as caught:
            await store.save_event(event.model_copy(update={"event_type": "other"}))
        assert caught.value.code == "audit_record_pkey"
        assert await store.list_events(event.tenant_id) == [event]

    async def test_events_are_filtered_newest_first_and_in_pages(self, store: AuditStore) -> None:
        tenant, session = uuid4(), uuid4()
        one, two, three = await save_events(
            store,
            tenant,
            {"timestamp": at(1), "event_type": "opened", "session_id": session},
            {"timestamp": at(2), "event_type": "closed", "session_id": session},
            {"timestamp": at(3), "event_type": "opened"},
        )
        assert await store.list_events(tenant) == [three, two, one]
        assert await store.list_events(tenant, event_type="opened") == [three, one]
        assert await store.list_events(tenant, session_id=session) == [two, one]
        assert await store.list_events(tenant, since=at(2), until=at(3)) == [two]
        assert await store.list_events(tenant, limit=1, offset=1) == [two]
        assert await store.list_events(tenant, session_id=session, event_type="opened", after=two) == [one]
        assert [event async for event in store.iter_events(tenant, event_type="opened")] == [three, one]
        assert await store.list_events(uuid4()) == []
        assert await store.get_event(uuid4(), one.id) is None

    async def test_the_events_of_a_turn_are_found(self, store: AuditStore) -> None:
        tenant, turn = uuid4(), uuid4()
        one, two, _ = await save_events(
            store, tenant, {"timestamp": at(1), "turn_id": turn}, {"timestamp": at(2), "turn_id": turn}, {}
        )
        assert await store.list_events(tenant, turn_id=turn) == [two, one]
        assert [event async for event in store.iter_events(tenant, turn_id=turn)] == [two, one]
        assert await store.list_events(tenant, turn_id=uuid4()) == []

    async def test_a_customers_events_are_found_newest_first(self, store: AuditStore) -> None:
        tenant, customer = uuid4(), uuid4()
        one, two, three, _, _ = await save_events(
            store,
            tenant,
            {"timestamp": at(1), "customer_profile_id": customer, "session_id": uuid4()},
            {"timestamp": at(2), "customer_profile_id": customer},
            {"timestamp": at(3), "customer_profile_id": customer},
            {"timestamp": at(4), "customer_profile_id": uuid4()},
            {"timestamp": at(5)},
        )
        await save_turns(store, tenant, {"customer_profile_id": customer})
        found = store.list_events_by_customer
        assert await found(tenant, customer) == [three, two, one]
        assert await found(tenant, customer, limit=1, offset=1) == [two]
        assert await found(tenant, customer, after=three) == [two, one]
        assert await found(uuid4(), customer) == []
        assert [event async for event in store.iter_events_by_customer(tenant, customer)] == [three, two, one]
        assert (await store.verify(tenant)).ok
