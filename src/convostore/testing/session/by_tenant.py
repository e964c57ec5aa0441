"""The contract of session stores whose ids are unique per tenant alone."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.call.call import Call, Proceed
from convostore.contracts import SessionStore
from convostore.errors import ConflictError, ValidationError
from convostore.models import Session
from convostore.testing.base import StoreContract
from convostore.testing.factories import make_session


class NameTenants:
    """Names, in calls that leave the tenant out, the one whose session was saved last under the id."""

    def __init__(self) -> None:
        self._tenant_of: dict[UUID, UUID] = {}

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Run the call; remember the sessions that it saves or creates."""
        session_id = call.arguments.get("session_id")
        if call.tenant_id is None and isinstance(session_id, UUID):
            call = call.with_arguments({**call.arguments, "tenant_id": self._tenant_of.get(session_id, uuid4())})
        result = await proceed(call)
        for session in (call.arguments.get("session"), result[0] if isinstance(result, tuple) else None):
            if isinstance(session, Session):
                self._tenant_of[session.session_id] = session.tenant_id
        return result


class SessionsByTenantContract(StoreContract):
    """Sessions of several tenants under one id. The fixture `by_tenant` gives the store."""

    @pytest.fixture
    def by_tenant(self) -> SessionStore:
        """The store under test, with `sessions_by_tenant`."""
        raise NotImplementedError("override the fixture `by_tenant` to give the store under test")

    @pytest.fixture
    def store(self, by_tenant: SessionStore) -> SessionStore:
        """The same store, on which calls that leave the tenant out name it."""
        return by_tenant.with_interceptors(NameTenants())

    async def test_a_call_by_id_that_names_no_tenant_is_refused(self, by_tenant: SessionStore) -> None:
        session = make_session(uuid4())
        await by_tenant.save(session)
        calls = (
            by_tenant.get,
            by_tenant.delete,
            by_tenant.promote_to_hot,
            by_tenant.demote_to_persistent,
            lambda session_id: by_tenant.acquire_lock(session_id, uuid4()),
            lambda session_id: by_tenant.release_lock(session_id, uuid4()),
        )
        for call in calls:
            with pytest.raises(ValidationError, match="for_tenant") as caught:
                await call(session.session_id)
            assert caught.value.outcome == "not_applied"
        with pytest.raises(ValidationError, match="for_tenant"):
            async with by_tenant.lock(session.session_id):
                pytest.fail("no tenant was named")
        assert await by_tenant.get(session.session_id, tenant_id=session.tenant_id) == session
        assert await by_tenant.for_tenant(session.tenant_id).get(session.session_id) == session

    async def test_sessions_of_two_tenants_have_one_id_and_nothing_else_in_common(
        self, by_tenant: SessionStore
    ) -> None:
        one = make_session(uuid4())
        other = make_session(uuid4(), session_id=one.session_id, channel=one.channel, agent_id=one.agent_id)
        stores = [by_tenant.for_tenant(session.tenant_id) for session in (one, other)]
        for store, session in zip(stores, (one, other), strict=True):
            await store.save(session)
        other.turn_count = 7
        await stores[1].save(other)
        token = await stores[0].acquire_lock(one.session_id, owner := uuid4())
        assert await stores[1].acquire_lock(one.session_id, uuid4()) is not None
        assert await stores[0].acquire_lock(one.session_id, owner) == token
        for _ in range(2):
            for store, session in zip(stores, (one, other), strict=True):
                assert await store.get(session.session_id, max_staleness=5) == session
                assert await store.get(session.session_id) == session
                assert await store.list_by_agent(session.tenant_id, session.agent_id) == [session]
                found = session.tenant_id, session.channel, session.user_channel_id
                assert await store.get_by_channel(*found) == session
        moved = await stores[0].demote_to_persistent(one.session_id)
        assert await stores[1].demote_to_persistent(one.session_id) is moved
        assert await stores[0].delete(one.session_id) is True
        assert await stores[0].get(one.session_id, max_staleness=5) is None
        assert await stores[1].get(one.session_id) == other
        assert await stores[0].delete(one.session_id) is False
        with pytest.raises(ConflictError):
            await stores[1].save(make_session(other.tenant_id, session_id=other.session_id))

    async def test_an_id_of_another_tenant_is_a_conflict_that_reveals_nothing(self, by_tenant: SessionStore) -> None:
        """Is none: the id is free in every other tenant."""
        session = make_session(uuid4())
        await by_tenant.save(session)
        await by_tenant.save(make_session(uuid4(), session_id=session.session_id))
        stale = make_session(uuid4(), session_id=session.session_id, revision=1)
        with pytest.raises(ConflictError) as caught:
            await by_tenant.save(stale)
        assert caught.value.current_revision is None
