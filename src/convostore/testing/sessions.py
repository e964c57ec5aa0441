"""The contract of session stores."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import SessionStore
from convostore.errors import ConflictError, ValidationError
from convostore.models import Channel, Session, SessionStatus
from convostore.models.fields import now
from convostore.testing.base import StoreContract
from convostore.testing.factories import TEXT, full_session, make_session, make_visit


async def save_sessions(store: SessionStore, tenant: UUID, *changes: dict[str, Any]) -> list[Session]:
    """Save one session for each set of changes, in this order."""
    sessions = [make_session(tenant, **change) for change in changes]
    for session in sessions:
        await store.save(session)
    return sessions


class SessionRowContract(StoreContract):
    """Sessions by id."""

    async def test_what_is_saved_is_read_back_equal(self, store: SessionStore) -> None:
        for session in (make_session(uuid4()), full_session(uuid4())):
            assert await store.save(session) == session.session_id
            assert await store.get(session.session_id) == session

    async def test_the_first_save_sets_the_revision_and_the_times(self, store: SessionStore) -> None:
        session, before = make_session(uuid4(), created_at=now().replace(year=2001)), now()
        await store.save(session)
        assert session.revision == 1
        assert before <= session.created_at == session.last_activity_at <= now()

    async def test_a_change_raises_the_revision_and_the_activity(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {})
        created_at = session.created_at
        session.variables["x"] = []
        await store.save(session)
        assert (session.revision, session.created_at) == (2, created_at)
        assert session.last_activity_at >= created_at
        assert await store.get(session.session_id) == session

    async def test_values_go_in_and_come_out_as_copies(self, store: SessionStore) -> None:
        session = full_session(uuid4())
        await store.save(session)
        original = session.model_copy(deep=True)
        session.variables.clear()
        read = await store.get(original.session_id)
        assert read is not None
        read.step_history.clear()
        assert await store.get(original.session_id) == original

    async def test_a_stale_copy_is_refused_and_told_the_revision(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {})
        stale = session.model_copy(update={"turn_count": 9})
        await store.save(session)
        with pytest.raises(ConflictError) as caught:
            await store.save(stale)
        assert (caught.value.current_revision, caught.value.store, caught.value.operation) == (2, "session", "save")
        assert stale.revision == 1
        assert await store.get(session.session_id) == session
        assert await store.get_by_channel(session.tenant_id, session.channel, session.user_channel_id) == session

    async def test_overwriting_ignores_the_revision(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {})
        other = session.model_copy(update={"revision": 0, "turn_count": 7})
        await store.save(other, overwrite=True)
        assert (other.revision, other.created_at) == (2, session.created_at)
        assert await store.get(session.session_id) == other
        fresh = make_session(uuid4(), revision=4)
        await store.save(fresh, overwrite=True)
        assert fresh.revision == 1

    async def test_an_id_in_use_and_a_deleted_session_are_conflicts(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {})
        with pytest.raises(ConflictError) as caught:
            await store.save(make_session(session.tenant_id, session_id=session.session_id))
        assert caught.value.current_revision == 1
        await store.delete(session.session_id)
        with pytest.raises(ConflictError) as caught:
            await store.save(session)
        assert caught.value.current_revision is None
        assert await store.get(session.session_id) is None

    async def test_an_id_of_another_tenant_is_a_conflict_that_reveals_nothing(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {})
        intruder = make_session(uuid4(), session_id=session.session_id, channel=session.channel)
        for revision, overwrite in ((0, False), (1, False), (0, True)):
            intruder.revision = revision
            with pytest.raises(ConflictError) as caught:
                await store.save(intruder, overwrite=overwrite)
            assert caught.value.current_revision is None
            # A save with a revision is looked for in its own tenant, where nothing is taken.
            assert revision or caught.value.code == "session_session_id_key"
            assert str(session.tenant_id) not in str(caught.value)
        assert await store.get(session.session_id) == session
        assert await store.get_by_channel(intruder.tenant_id, intruder.channel, intruder.user_channel_id) is None
        assert await store.list_by_agent(intruder.tenant_id, intruder.agent_id) == []

    async def test_a_deleted_session_is_gone_from_everything(self, store: SessionStore) -> None:
        session = full_session(uuid4())
        await store.save(session)
        assert await store.delete(session.session_id) is True
        assert await store.delete(session.session_id) is False
        assert await store.get(session.session_id) is None
        assert await store.get_by_channel(session.tenant_id, session.channel, session.user_channel_id) is None
        assert await store.list_by_agent(session.tenant_id, session.agent_id) == []
        assert session.customer_profile_id is not None
        assert await store.list_by_customer(session.tenant_id, session.customer_profile_id) == []
        await store.save(make_session(uuid4(), session_id=session.session_id))

    async def test_a_tenant_hides_the_sessions_of_others(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {})
        for reach in (store.get, store.delete, store.promote_to_hot, store.demote_to_persistent):
            assert not await reach(session.session_id, tenant_id=uuid4())
        bound = store.for_tenant(uuid4())
        for reach in (bound.get, bound.delete, bound.promote_to_hot, bound.demote_to_persistent):
            assert not await reach(session.session_id)
        with pytest.raises(ValidationError, match="tenant_id"):
            await bound.save(session)
        assert await store.get(session.session_id, tenant_id=session.tenant_id) == session
        assert await store.for_tenant(session.tenant_id).get(session.session_id) == session

    async def test_tiers_change_neither_content_nor_revision_nor_activity(self, store: SessionStore) -> None:
        session = full_session(uuid4())
        await store.save(session)
        find = (session.tenant_id, session.channel, session.user_channel_id)
        assert await store.promote_to_hot(session.session_id) is False
        two_tiers = await store.demote_to_persistent(session.session_id)
        assert await store.get(session.session_id) == session
        assert await store.list_by_agent(session.tenant_id, session.agent_id) == [session]
        assert await store.get_by_channel(*find) == session
        await store.promote_to_hot(session.session_id)
        assert await store.demote_to_persistent(session.session_id) is two_tiers
        await store.save(session)
        assert session.revision == 2
        assert await store.get(session.session_id) == session
        assert await store.promote_to_hot(session.session_id) is False
        for move in (store.promote_to_hot, store.demote_to_persistent):
            assert await move(uuid4()) is False

    async def test_of_many_concurrent_saves_of_one_revision_one_wins(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {})
        copies = [session.model_copy(update={"turn_count": n}) for n in range(20)]
        results = await asyncio.gather(*map(store.save, copies), return_exceptions=True)
        assert sum(isinstance(result, ConflictError) and result.current_revision == 2 for result in results) == 19
        assert await store.get(session.session_id) in copies

    async def test_of_many_concurrent_first_saves_of_one_id_one_wins(self, store: SessionStore) -> None:
        for _ in range(10):
            tenant, session_id = uuid4(), uuid4()
            rivals = [make_session(tenant, session_id=session_id) for _ in range(8)]
            results = await asyncio.gather(*map(store.save, rivals), return_exceptions=True)
            assert sum(isinstance(result, ConflictError) and result.current_revision == 1 for result in results) == 7
            new_id = uuid4()
            overwriting = [make_session(tenant, session_id=new_id) for _ in range(8)]
            await asyncio.gather(*(store.save(session, overwrite=True) for session in overwriting))
            assert sorted(session.revision for session in overwriting) == list(range(1, 9))

    async def test_many_concurrent_sessions_are_all_kept(self, store: SessionStore) -> None:
        tenant, agent = uuid4(), uuid4()
        sessions = [make_session(tenant, agent_id=agent) for _ in range(100)]
        await asyncio.gather(*map(store.save, sessions))
        assert await asyncio.gather(*(store.get(session.session_id) for session in sessions)) == sessions
        listed = await store.list_by_agent(tenant, agent)
        assert listed == sorted(sessions, key=lambda s: (-s.last_activity_at.timestamp(), s.session_id))

    async def test_what_became_invalid_is_refused(self, store: SessionStore) -> None:
        session = full_session(uuid4())
        session.step_history[0].__dict__["confidence"] = 2.0
        with pytest.raises(ValidationError, match="step_history"):
            await store.save(session)
        assert await store.get(session.session_id) is None


CHANGES: list[dict[str, Any]] = [
    {"agent_id": uuid4()},
    {"customer_profile_id": uuid4()},
    {"customer_profile_id": None},
    {"channel": Channel.EMAIL},
    {"user_channel_id": "another"},
    {"status": SessionStatus.CLOSED},
    {"active_scenario_id": uuid4()},
    {"active_scenario_version": 3},
    {"step_history": []},
    {"step_history": [make_visit(step_content_hash="next")]},
]
"""Each kind of change after which a session is no longer found by something it was found by before."""


def lookups(store: SessionStore, session: Session) -> dict[str, Awaitable[Session | list[Session] | None]]:
    """Return every way to find a session as it is now, by what it asks for."""
    tenant = session.tenant_id
    found: dict[str, Awaitable[Session | list[Session] | None]] = {
        f"{session.channel} {session.user_channel_id}": store.get_by_channel(
            tenant, session.channel, session.user_channel_id
        ),
        f"agent {session.agent_id}": store.list_by_agent(tenant, session.agent_id),
        f"{session.status} of {session.agent_id}": store.list_by_agent(tenant, session.agent_id, status=session.status),
    }
    if session.customer_profile_id:
        customer = session.customer_profile_id
        found[f"customer {customer}"] = store.list_by_customer(tenant, customer)
    if session.active_scenario_id and session.active_scenario_version and session.step_history:
        step = session.active_scenario_id, session.active_scenario_version, session.step_history[-1].step_content_hash
        if session.status is SessionStatus.ACTIVE and step[2]:
            found[f"step {step}"] = store.find_sessions_by_step_hash(tenant, step[0], step[1], step[2])
    return found


class SessionListContract(StoreContract):
    """Sessions by channel identity, agent, customer and step."""

    @pytest.mark.parametrize("change", CHANGES, ids=lambda change: "+".join(change))
    async def test_a_session_is_found_by_what_it_is_and_no_longer_by_what_it_was(
        self, store: SessionStore, change: dict[str, Any]
    ) -> None:
        before = full_session(uuid4()).model_copy(
            update={
                "channel": Channel.SMS,
                "status": SessionStatus.ACTIVE,
                "active_scenario_version": 2,
                "step_history": [make_visit(step_content_hash="here")],
            }
        )
        await store.save(before)
        after = before.model_copy(update=change)
        await store.save(after)
        now_found, was_found = lookups(store, after), lookups(store, before)
        assert len(was_found) == 5
        for name, found in now_found.items():
            assert await found in (after, [after]), name
        for name, found in was_found.items():
            assert bool(await found) is (name in now_found), name
        assert now_found.keys() != was_found.keys()

    async def test_the_most_recent_open_session_of_an_identity_is_found(self, store: SessionStore) -> None:
        tenant, identity = uuid4(), {"channel": Channel.SMS, "user_channel_id": TEXT}
        first, second, closed = await save_sessions(
            store, tenant, identity, identity, {**identity, "status": SessionStatus.CLOSED}
        )
        find = store.get_by_channel
        assert await find(tenant, Channel.SMS, TEXT) == second
        await store.save(first)
        assert await find(tenant, Channel.SMS, TEXT) == first
        for session in (first, second):
            session.status = SessionStatus.CLOSED
            await store.save(session)
        assert await find(tenant, Channel.SMS, TEXT) == second
        await store.delete(second.session_id)
        assert await find(tenant, Channel.SMS, TEXT) == first
        closed.status = SessionStatus.IDLE
        await store.save(closed)
        await store.save(first)
        assert await find(tenant, Channel.SMS, TEXT) == closed
        assert await find(tenant, Channel.EMAIL, TEXT) is None
        assert await find(tenant, Channel.SMS, "other") is None
        assert await find(uuid4(), Channel.SMS, TEXT) is None

    async def test_a_session_that_changes_its_identity_leaves_the_old_one(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {"channel": Channel.SMS, "user_channel_id": "old"})
        session.channel, session.user_channel_id = Channel.EMAIL, "new"
        await store.save(session)
        assert await store.get_by_channel(session.tenant_id, Channel.SMS, "old") is None
        assert await store.get_by_channel(session.tenant_id, Channel.EMAIL, "new") == session

    async def test_an_agents_sessions_come_most_recent_first(self, store: SessionStore) -> None:
        tenant, agent = uuid4(), uuid4()
        sessions = await save_sessions(store, tenant, *({"agent_id": agent} for _ in range(5)))
        await save_sessions(store, tenant, {})
        await save_sessions(store, uuid4(), {"agent_id": agent})
        await store.save(sessions[1])
        expected = [sessions[index] for index in (1, 4, 3, 2, 0)]
        assert await store.list_by_agent(tenant, agent) == expected
        pages = [await store.list_by_agent(tenant, agent, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
        assert pages == [expected[:2], expected[2:4], expected[4:], []]

    async def test_an_agents_sessions_are_filtered_by_status(self, store: SessionStore) -> None:
        tenant, agent = uuid4(), uuid4()
        active, closed = await save_sessions(
            store, tenant, {"agent_id": agent}, {"agent_id": agent, "status": SessionStatus.CLOSED}
        )
        list_by = store.list_by_agent
        assert await list_by(tenant, agent, status=SessionStatus.ACTIVE) == [active]
        assert await list_by(tenant, agent, status=SessionStatus.CLOSED) == [closed]
        active.status = SessionStatus.IDLE
        await store.save(active)
        assert await list_by(tenant, agent, status=SessionStatus.ACTIVE) == []
        assert await list_by(tenant, agent, status=SessionStatus.IDLE) == [active]
        active.agent_id = uuid4()
        await store.save(active)
        assert await list_by(tenant, agent) == [closed]
        assert await list_by(tenant, active.agent_id) == [active]

    async def test_a_customers_sessions_come_most_recent_first(self, store: SessionStore) -> None:
        tenant, customer = uuid4(), uuid4()
        one, two, three = await save_sessions(store, tenant, *({"customer_profile_id": customer} for _ in range(3)))
        await save_sessions(store, tenant, {}, {"customer_profile_id": uuid4()})
        list_by = store.list_by_customer
        assert await list_by(tenant, customer) == [three, two, one]
        assert await list_by(tenant, customer, limit=1, offset=1) == [two]
        assert await list_by(uuid4(), customer) == []
        one.customer_profile_id = None
        await store.save(one)
        assert await list_by(tenant, customer) == [three, two]
