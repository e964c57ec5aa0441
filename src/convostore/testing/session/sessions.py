"""The contract of session stores: sessions by id."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import SessionStore
from convostore.errors import ConflictError, ValidationError
from convostore.models import Session
from convostore.models.fields import now
from convostore.testing.base import StoreContract
from convostore.testing.factories import full_session, make_session


async def save_sessions(store: SessionStore, tenant: UUID, *changes: dict[str, Any]) -> list[Session]:
    """Save one session for each set of changes, in this order."""
    sessions = [make_session(tenant, **change) for change in changes]
    for session in sessions:
        await store.save(session)
    return sessions


class SessionSaveContract(StoreContract):
    """Sessions by id."""

    async def test_what_is_saved_is_read_back_equal(self, store: SessionStore) -> None:
        for session in (make_session(uuid4()), full_session(uuid4())):
            assert await store.save(session) == session.session_id
            assert await store.get(session.session_id) == session

    async def test_the_first_save_sets_the_store_managed_fields(self, store: SessionStore) -> None:
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

    async def test_a_stale_revision_is_a_conflict_that_carries_the_stored_one(self, store: SessionStore) -> None:
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
            # A save with a revision is a compare-and-set in its own tenant, where the id does not exist.
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

    async def test_many_concurrent_sessions_are_all_stored(self, store: SessionStore) -> None:
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
