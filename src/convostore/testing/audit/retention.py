"""The contract of audit stores: bodies that are dropped by the month."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime
from typing import TypeVar
from uuid import uuid4

import pytest

from convostore.contracts import AuditStore
from convostore.errors import ConflictError, ValidationError
from convostore.models.fields import now
from convostore.testing.audit.chains import verify_lines
from convostore.testing.base import StoreContract
from convostore.testing.factories import make_event, make_turn

S = TypeVar("S", bound=AuditStore)


def on(store: S, year: int, month: int, day: int = 15) -> S:
    """Return a store at another time: what it records arrives then."""
    twin, moment = store.within(store.timeout), datetime(year, month, day, tzinfo=UTC)
    twin._clock = lambda: moment
    return twin


async def open_year(store: AuditStore) -> int:
    """Return a year in whose first months nothing was dropped yet, from 1902 to 1989."""
    for year in random.sample(range(1902, 1990), 88):
        try:
            for month in range(1, 4):
                await on(store, year, month).save_turn(make_turn(uuid4()))
        except ValidationError:
            continue
        return year
    raise AssertionError("every year was dropped")


class AuditRetentionContract(StoreContract):
    """Retention. Override the fixture `operator` if not every store may drop bodies."""

    @pytest.fixture
    def operator(self, store: AuditStore) -> AuditStore:
        """The same data, seen by somebody who may drop bodies."""
        return store

    async def test_bodies_of_whole_months_are_dropped_and_records_stay(
        self, store: AuditStore, operator: AuditStore
    ) -> None:
        tenant, session, year = uuid4(), uuid4(), await open_year(store)
        turns = [make_turn(tenant, session_id=session, turn_number=n) for n in range(4)]
        for turn, (month, day) in zip(turns, ((1, 1), (1, 31), (2, 1), (3, 1)), strict=True):
            await on(store, year, month, day).save_turn(turn)
        event = make_event(tenant)
        await on(store, year, 1).save_event(event)
        before = await store.verify(tenant)
        assert before.ok
        months = await operator.drop_bodies(before=datetime(year, 2, 28, tzinfo=UTC))
        assert date(year, 1, 1) in months
        assert max(months) == date(year, 1, 1)
        assert await operator.drop_bodies(before=datetime(year, 2, 28, tzinfo=UTC)) == []
        assert await store.list_turns_by_session(tenant, session) == turns[2:]
        assert sorted(turn.turn_number for turn in await store.list_turns_by_tenant(tenant)) == [2, 3]
        assert await store.get_turn(tenant, turns[0].turn_id) is None
        assert await store.get_event(tenant, event.id) is None
        assert await store.list_events(tenant) == []
        result = await store.verify(tenant, anchor=before.head)
        assert (result.ok, result.records, result.bodies) == (True, 5, 2)
        assert result.months_dropped == [date(year, 1, 1)]
        records = await store.list_records(tenant)
        assert [(record.body is None, record.body_dropped) for record in records] == [(True, True)] * 3 + [
            (False, False)
        ] * 2
        lines = [line async for line in store.export(tenant)]
        assert verify_lines(lines) is None
        assert [json.loads(line)["body_dropped"] for line in lines[:-1]] == [True, True, True, False, False]

    async def test_what_was_recorded_stays_recorded_without_its_body(
        self, store: AuditStore, operator: AuditStore
    ) -> None:
        turn, year = make_turn(uuid4()), await open_year(store)
        await on(store, year, 1).save_turn(turn)
        await operator.drop_bodies(before=datetime(year, 2, 1, tzinfo=UTC))
        await store.save_turn(turn)
        for wrong in ({"agent_response": "other"}, {"turn_id": uuid4()}):
            with pytest.raises(ConflictError):
                await store.save_turn(turn.model_copy(update=wrong))
        following = make_turn(turn.tenant_id, session_id=turn.session_id, turn_number=1)
        await on(store, year, 2).save_turn(following)
        assert await store.list_turns_by_session(turn.tenant_id, turn.session_id) == [following]
        assert (await store.verify(turn.tenant_id)).records == 2

    async def test_nothing_new_arrives_in_a_month_that_was_dropped(
        self, store: AuditStore, operator: AuditStore
    ) -> None:
        year, tenant = await open_year(store), uuid4()
        turn = make_turn(tenant)
        await on(store, year, 1).save_turn(turn)
        await operator.drop_bodies(before=datetime(year, 2, 1, tzinfo=UTC))
        late = on(store, year, 1)
        await late.save_turn(turn)
        for refused in (
            late.save_turn(make_turn(tenant)),
            late.save_events([make_event(tenant)]),
            late.save_turns([turn, make_turn(tenant, session_id=turn.session_id, turn_number=1)]),
        ):
            with pytest.raises(ValidationError, match=f"recorded_at: the bodies of {year}-01 were dropped") as error:
                await refused
            assert error.value.outcome == "not_applied"
        result = await store.verify(tenant)
        assert (result.ok, result.records, result.bodies) == (True, 1, 0)

    async def test_the_future_is_not_dropped_and_not_for_one_tenant(
        self, store: AuditStore, operator: AuditStore
    ) -> None:
        with pytest.raises(ValidationError, match="before: must not lie in the future"):
            await operator.drop_bodies(before=now().replace(year=9000))
        with pytest.raises(ValidationError, match="bound to one"):
            await store.for_tenant(uuid4()).drop_bodies(before=datetime(1990, 1, 1, tzinfo=UTC))

    async def test_preparing_months_is_idempotent(self, store: AuditStore) -> None:
        store = on(store, 1995, 3)
        assert await store.prepare_months() in (0, 4)
        assert await store.prepare_months() == 0
        assert await on(store, 1995, 4).prepare_months() in (0, 1)
