"""The contract of session stores: one worker at a time, and sweeping."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from convostore.contracts import SessionStore
from convostore.errors import ConflictError, NotFoundError, ValidationError
from convostore.testing.base import StoreContract
from convostore.testing.factories import make_session
from convostore.testing.session.sessions import save_sessions


class SessionLockContract(StoreContract):
    """Locks with fencing tokens."""

    async def test_one_owner_at_a_time_has_the_lock(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {})
        one, other = uuid4(), uuid4()
        first = await store.acquire_lock(session.session_id, one)
        assert first is not None
        assert await store.acquire_lock(session.session_id, one) == first
        assert await store.acquire_lock(session.session_id, other) is None
        assert await store.release_lock(session.session_id, other) is False
        assert await store.release_lock(session.session_id, one) is True
        assert await store.release_lock(session.session_id, one) is False
        second = await store.acquire_lock(session.session_id, other)
        assert second is not None
        assert second > first

    async def test_of_many_concurrent_acquires_one_gets_the_lock(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {})
        tokens = await asyncio.gather(*(store.acquire_lock(session.session_id, uuid4()) for _ in range(20)))
        assert sum(token is not None for token in tokens) == 1

    async def test_an_expired_lock_can_be_acquired_by_another(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {})
        dead, next_one = uuid4(), uuid4()
        first = await store.acquire_lock(session.session_id, dead, ttl=0.1)
        async with asyncio.timeout(10):
            while (second := await store.acquire_lock(session.session_id, next_one)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert first is not None
        assert second > first
        assert await store.release_lock(session.session_id, dead) is False
        assert await store.acquire_lock(session.session_id, dead) is None

    async def test_a_save_with_a_stale_fencing_token_is_refused(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {})
        async with store.lock(session.session_id) as old:
            await store.save(session, fence=old)
        async with store.lock(session.session_id) as token:
            late = session.model_copy(update={"turn_count": 9})
            for overwrite in (False, True):
                with pytest.raises(ConflictError) as caught:
                    await store.save(late, fence=old, overwrite=overwrite)
                assert caught.value.code == "fenced"
            await store.save(session, fence=token)
        await store.save(session)
        assert await store.get(session.session_id) == session

    async def test_a_lock_serialises_workers(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {})

        async def work() -> None:
            async with store.lock(session.session_id) as token:
                mine = await store.get(session.session_id)
                assert mine is not None
                mine.turn_count += 1
                await store.save(mine, fence=token)

        await asyncio.gather(*(work() for _ in range(8)))
        final = await store.get(session.session_id)
        assert final is not None
        assert final.turn_count == 8

    async def test_a_held_lock_is_renewed_and_waited_for_within_the_deadline(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {})
        async with store.lock(session.session_id, ttl=0.6):
            with pytest.raises(ConflictError) as caught:
                async with store.within(1.2).lock(session.session_id):
                    pytest.fail("two had the lock")
        assert (caught.value.code, caught.value.retryable) == ("locked", True)
        async with store.lock(session.session_id):
            pass

    async def test_a_lock_needs_a_session_of_the_tenant(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {})
        with pytest.raises(NotFoundError):
            await store.acquire_lock(uuid4(), uuid4())
        with pytest.raises(NotFoundError):
            await store.acquire_lock(session.session_id, uuid4(), tenant_id=uuid4())
        with pytest.raises(NotFoundError):
            async with store.for_tenant(uuid4()).lock(session.session_id):
                pytest.fail("it is another tenant's")
        owner = uuid4()
        assert await store.acquire_lock(session.session_id, owner, tenant_id=session.tenant_id)
        assert await store.release_lock(session.session_id, owner, tenant_id=uuid4()) is False
        await store.delete(session.session_id)
        with pytest.raises(NotFoundError):
            await store.acquire_lock(session.session_id, owner)
        await store.save(make_session(session.tenant_id, session_id=session.session_id))
        assert await store.acquire_lock(session.session_id, uuid4())

    async def test_locks_last_a_tenth_of_a_second_to_an_hour(self, store: SessionStore) -> None:
        (session,) = await save_sessions(store, uuid4(), {})
        for ttl in (0.0, 0.09, 3_600.1, float("nan"), True, "1"):
            with pytest.raises(ValidationError, match="ttl"):
                await store.acquire_lock(session.session_id, uuid4(), ttl=ttl)  # type: ignore[arg-type]
        for fence in (0, -1, True, 1.0, "1"):
            with pytest.raises(ValidationError, match="fence"):
                await store.save(session, fence=fence)  # type: ignore[arg-type]

    async def test_a_sweep_ignores_sessions_in_use(self, store: SessionStore) -> None:
        sessions = await save_sessions(store, uuid4(), {}, {})
        await store.sweep()
        assert [await store.get(session.session_id) for session in sessions] == sessions

    async def test_a_sweep_is_for_all_tenants(self, store: SessionStore) -> None:
        with pytest.raises(ValidationError, match="sweep"):
            await store.for_tenant(uuid4()).sweep()
