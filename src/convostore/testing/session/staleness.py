"""The contract of session stores: reads that accept a bounded staleness."""

from __future__ import annotations

from uuid import uuid4

import pytest

from convostore.contracts import SessionStore
from convostore.errors import ConflictError, ValidationError
from convostore.models import Channel
from convostore.testing.base import StoreContract
from convostore.testing.factories import TEXT, full_session, make_session

HOUR = 3_600.0


class SessionStalenessContract(StoreContract):
    """`get` with `max_staleness`: own writes are seen at once, and no answer goes back."""

    async def test_what_was_saved_is_read_with_any_staleness(self, store: SessionStore) -> None:
        session = full_session(uuid4())
        assert await store.get(session.session_id, max_staleness=HOUR) is None
        await store.save(session)
        for seconds in (HOUR, 1, 0.5, 0):
            assert await store.get(session.session_id, max_staleness=seconds) == session

    async def test_each_answer_is_the_callers_own(self, store: SessionStore) -> None:
        session = make_session(uuid4(), variables={"cart": [1]})
        await store.save(session)
        for _ in range(3):
            found = await store.get(session.session_id, max_staleness=HOUR)
            assert found == session
            assert found is not None
            found.variables["more"] = 1
        session.variables["more"] = 2
        assert await store.get(session.session_id, max_staleness=HOUR) != session

    async def test_own_saves_are_seen_at_once(self, store: SessionStore) -> None:
        session = make_session(uuid4())
        for turn in range(5):
            session.turn_count = turn
            await store.save(session, overwrite=turn == 3)
            assert await store.get(session.session_id, max_staleness=HOUR) == session

    async def test_own_deletions_are_seen_at_once(self, store: SessionStore) -> None:
        session = make_session(uuid4())
        await store.save(session)
        assert await store.get(session.session_id, max_staleness=HOUR) == session
        assert await store.delete(session.session_id)
        assert await store.get(session.session_id, max_staleness=HOUR) is None

    async def test_a_refused_save_leaves_what_is_stored(self, store: SessionStore) -> None:
        session = make_session(uuid4())
        await store.save(session)
        stale = session.model_copy(update={"revision": 0, "turn_count": 7})
        assert await store.get(session.session_id, max_staleness=HOUR) == session
        with pytest.raises(ConflictError):
            await store.save(stale)
        assert await store.get(session.session_id, max_staleness=HOUR) == session

    async def test_a_created_session_is_seen_at_once(self, store: SessionStore) -> None:
        identity = uuid4(), uuid4(), Channel.SMS, TEXT
        assert await store.get(uuid4(), max_staleness=HOUR) is None
        session, _ = await store.get_or_create(*identity)
        assert await store.get(session.session_id, max_staleness=HOUR) == session

    async def test_twins_share_what_was_read_and_written_and_other_tenants_see_nothing(
        self, store: SessionStore
    ) -> None:
        session = make_session(uuid4())
        own, other = store.for_tenant(session.tenant_id), store.for_tenant(uuid4())
        await own.save(session)
        for _ in range(2):
            for each in (store, own, own.within(60)):
                assert await each.get(session.session_id, max_staleness=HOUR) == session
            assert await other.get(session.session_id, max_staleness=HOUR) is None
            assert await store.get(session.session_id, tenant_id=uuid4(), max_staleness=HOUR) is None
        assert not await other.delete(session.session_id)
        assert await own.get(session.session_id, max_staleness=HOUR) == session
        await own.delete(session.session_id)
        assert await store.get(session.session_id, max_staleness=HOUR) is None

    @pytest.mark.parametrize("seconds", [-1, 3_601, float("nan"), float("inf"), True, "1", None])
    async def test_a_staleness_out_of_bounds_is_refused(self, store: SessionStore, seconds: object) -> None:
        with pytest.raises(ValidationError, match="max_staleness"):
            await store.get(uuid4(), max_staleness=seconds)  # type: ignore[arg-type]
