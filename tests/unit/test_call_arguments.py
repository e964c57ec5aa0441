"""A store works on checked copies of the arguments; store-managed fields are written back on success."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest

from convostore.errors import ConflictError, ConnectionError, StoreError, ValidationError
from convostore.inmemory import InMemoryAuditStore, InMemoryConfigStore, InMemorySessionStore
from convostore.models import Channel, StepVisit
from convostore.testing.factories import MOMENT, full_session, make_rule, make_session, make_turn, make_visit
from tests.unit.scripted import ScriptedSessions


async def test_a_store_receives_a_deep_copy() -> None:
    store, session = ScriptedSessions(), full_session(uuid4())
    await store.save(session)
    (seen,) = store.seen
    assert seen is not session
    assert seen.step_history[0] is not session.step_history[0]
    assert seen.variables["cart"] is not session.variables["cart"]
    assert seen == session


async def test_changes_during_the_call_are_not_stored() -> None:
    session = full_session(uuid4())

    async def mutate() -> None:
        session.variables["late"] = True
        session.step_history.clear()

    store = ScriptedSessions(mutate)
    await store.save(session)
    assert "late" not in store.seen[0].variables
    assert len(store.seen[0].step_history) == 2


def impossible_visit() -> StepVisit:
    visit = make_visit()
    visit.__dict__["turn_number"] = -1
    return visit


async def test_mutated_lists_are_validated_before_any_attempt() -> None:
    store, session = ScriptedSessions(), full_session(uuid4())
    history: list[Any] = session.step_history
    for wrong, place in (("visit", "step_history.2"), (impossible_visit(), "step_history.2.turn_number")):
        history.append(wrong)
        with pytest.raises(ValidationError, match=re.escape(f"session.{place}: ")):
            await store.save(session)
        history.pop()
    session.variables["deep"] = {"number": float("nan")}
    with pytest.raises(ValidationError, match=r"session\.variables\.deep: numbers in JSON must be finite"):
        await store.save(session)
    assert store.attempts == 0


async def test_managed_fields_are_written_back_on_success() -> None:
    store, rule = InMemoryConfigStore(clock=lambda: MOMENT), make_rule(uuid4(), uuid4())
    await store.save_rule(rule)
    assert (rule.revision, rule.created_at, rule.updated_at) == (1, MOMENT, MOMENT)
    await store.save_rule(rule=rule)
    assert rule.revision == 2
    assert await store.get_rule(rule.tenant_id, rule.id) == rule


async def test_only_managed_fields_are_written_back() -> None:
    session = make_session(uuid4())

    async def mutate() -> None:
        session.channel = Channel.VOICE
        session.variables["late"] = 1

    await ScriptedSessions(mutate).save(session)
    assert session.revision == 1
    assert (session.channel, session.variables) == (Channel.VOICE, {"late": 1})


@pytest.mark.parametrize(
    "failure",
    [ConflictError("stale"), RuntimeError(), ConnectionError("gone", retryable=False)],
    ids=repr,
)
async def test_a_failed_call_does_not_change_the_callers_object(failure: Exception) -> None:
    session = full_session(uuid4())
    before = session.model_copy(deep=True)
    with pytest.raises(StoreError):
        await ScriptedSessions(failure).save(session)
    assert session == before


async def test_a_refused_save_leaves_the_stale_copy_stale() -> None:
    store, session = InMemorySessionStore(), make_session(uuid4())
    await store.save(session)
    stale = session.model_copy(deep=True)
    await store.save(session)
    with pytest.raises(ConflictError) as caught:
        await store.save(stale)
    assert caught.value.current_revision == 2
    assert stale.revision == 1
    assert stale.last_activity_at <= session.last_activity_at


async def test_frozen_records_are_stored_and_not_changed() -> None:
    store, turn = InMemoryAuditStore(), make_turn(uuid4())
    before = turn.model_copy(deep=True)
    await store.save_turn(turn)
    assert turn == before
    assert await store.get_turn(turn.tenant_id, turn.turn_id) == turn


async def test_results_are_copies() -> None:
    store, session = InMemorySessionStore(), full_session(uuid4())
    await store.save(session)
    one, other = await store.get(session.session_id), await store.get(session.session_id)
    assert one is not None
    assert one == other
    assert one is not other
    one.variables.clear()
    one.step_history.append(make_visit())
    assert await store.get(session.session_id) == other == session


async def test_arguments_may_be_positional_or_named() -> None:
    store, session = InMemorySessionStore(), make_session(uuid4())
    assert await store.save(session=session, overwrite=True) == session.session_id
    assert session.revision == 1
    named = await store.get_by_channel(
        user_channel_id=session.user_channel_id, channel=session.channel, tenant_id=session.tenant_id
    )
    assert named == await store.get_by_channel(session.tenant_id, session.channel, session.user_channel_id) == session


async def test_a_method_outside_the_contract_is_not_wrapped() -> None:
    class Extended(InMemorySessionStore):
        async def double(self, number: int) -> int:
            return number * 2

    assert await Extended().double(4) == 8
    assert not hasattr(Extended.double, "__wrapped__")
    assert hasattr(Extended.get, "__wrapped__")
