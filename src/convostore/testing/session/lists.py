"""The contract of session stores: sessions by channel identity, agent, customer and step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.call.paging import PAGE
from convostore.contracts import SessionStore
from convostore.models import Channel, Session, SessionStatus
from convostore.testing.base import StoreContract
from convostore.testing.factories import TEXT, full_session, make_visit
from convostore.testing.session.sessions import save_sessions

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


def lists(
    store: SessionStore, tenant: UUID, owner: UUID
) -> list[tuple[Callable[..., Coroutine[Any, Any, list[Session]]], AsyncIterator[Session]]]:
    """Return every list of the sessions that `in_every_list` makes, and its twin that streams."""
    step = tenant, owner, 2, "here"
    return [
        (partial(store.list_by_agent, tenant, owner), store.iter_by_agent(tenant, owner)),
        (
            partial(store.list_by_agent, tenant, owner, status=SessionStatus.ACTIVE),
            store.iter_by_agent(tenant, owner, status=SessionStatus.ACTIVE),
        ),
        (partial(store.list_by_customer, tenant, owner), store.iter_by_customer(tenant, owner)),
        (partial(store.find_sessions_by_step_hash, *step), store.iter_sessions_by_step_hash(*step)),
    ]


async def in_every_list(store: SessionStore, tenant: UUID, owner: UUID, number: int) -> list[Session]:
    """Save sessions that are in every list of their owner: agent, customer and scenario at once."""
    changes = {
        "agent_id": owner,
        "customer_profile_id": owner,
        "active_scenario_id": owner,
        "active_scenario_version": 2,
        "step_history": [make_visit(step_content_hash="here")],
    }
    return await save_sessions(store, tenant, *(changes for _ in range(number)))


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

    async def test_a_page_begins_after_its_cursor(self, store: SessionStore) -> None:
        tenant, owner = uuid4(), uuid4()
        sessions = (await in_every_list(store, tenant, owner, 7))[::-1]
        await in_every_list(store, tenant, uuid4(), 2)
        await in_every_list(store, uuid4(), owner, 2)
        for list_page, _ in lists(store, tenant, owner):
            for size in (1, 3, 7, 8):
                found: list[Session] = []
                while page := await list_page(limit=size, after=found[-1] if found else None):
                    found += page
                assert found == sessions
            assert await list_page(limit=2, offset=1, after=sessions[1]) == sessions[3:5]
            assert await list_page(after=sessions[0]) == sessions[1:]

    async def test_a_cursor_need_not_be_stored_any_more(self, store: SessionStore) -> None:
        tenant, owner = uuid4(), uuid4()
        sessions = (await in_every_list(store, tenant, owner, 5))[::-1]
        deleted, saved = (session.model_copy(deep=True) for session in sessions[1:3])
        await store.delete(deleted.session_id)
        await store.save(sessions[2])
        for list_page, _ in lists(store, tenant, owner):
            assert await list_page(after=deleted) == sessions[3:]
            assert await list_page(after=saved) == sessions[3:]
            assert await list_page(after=sessions[2]) == [sessions[0], *sessions[3:]]

    async def test_of_sessions_that_were_active_at_one_moment_the_cursor_is_the_id(self, store: SessionStore) -> None:
        tenant, owner = uuid4(), uuid4()
        (session,) = await in_every_list(store, tenant, owner, 1)
        before, after = (session.model_copy(update={"session_id": UUID(int=value)}) for value in (0, 2**128 - 1))
        for list_page, _ in lists(store, tenant, owner):
            assert await list_page(after=before) == [session]
            assert await list_page(after=after) == []

    async def test_a_stream_yields_every_page(self, store: SessionStore) -> None:
        tenant, owner = uuid4(), uuid4()
        sessions = (await in_every_list(store, tenant, owner, PAGE + 3))[::-1]
        for _, stream in lists(store, tenant, owner):
            assert [session async for session in stream] == sessions
