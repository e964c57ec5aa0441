"""The session store as its callers see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import assert_type
from uuid import UUID

from convostore.contracts import SessionStore
from convostore.inmemory import InMemorySessionStore
from convostore.models import Channel, ScopeFilter, Session, SessionStatus


async def reading(store: SessionStore, id: UUID, scope: ScopeFilter) -> None:
    assert_type(await store.get(id), Session | None)
    assert_type(await store.get(id, tenant_id=id), Session | None)
    assert_type(await store.get_by_channel(id, Channel.EMAIL, "ann@example.com"), Session | None)
    assert_type(await store.get_by_channel(id, Channel.EMAIL, "ann@example.com", agent_id=id), Session | None)
    assert_type(await store.list_by_agent(id, id, status=SessionStatus.ACTIVE, limit=10, offset=5), list[Session])
    assert_type(await store.list_by_customer(id, id), list[Session])
    assert_type(await store.find_sessions_by_step_hash(id, id, 1, "hash", scope, limit=None), list[Session])


async def streaming(store: SessionStore, id: UUID, session: Session) -> None:
    assert_type(await store.list_by_customer(id, id, after=session), list[Session])
    assert_type(store.iter_by_agent(id, id, status=SessionStatus.ACTIVE), AsyncIterator[Session])
    assert_type(store.iter_by_customer(id, id), AsyncIterator[Session])
    assert_type(store.iter_sessions_by_step_hash(id, id, 1, "hash"), AsyncIterator[Session])


async def writing(store: SessionStore, session: Session) -> None:
    assert_type(await store.save(session), UUID)
    assert_type(await store.save(session, overwrite=True), UUID)
    identity = session.tenant_id, session.agent_id, session.channel, session.user_channel_id
    assert_type(await store.get_or_create(*identity, customer_profile_id=None), tuple[Session, bool])
    assert_type(await store.delete(session.session_id), bool)
    assert_type(await store.promote_to_hot(session.session_id), bool)
    assert_type(await store.demote_to_persistent(session.session_id), bool)


async def locking(store: SessionStore, session: Session) -> None:
    async with store.lock(session.session_id, ttl=10) as token:
        assert_type(token, int)
        assert_type(await store.save(session, fence=token), UUID)
    assert_type(await store.acquire_lock(session.session_id, session.session_id), int | None)
    assert_type(await store.release_lock(session.session_id, session.session_id), bool)


async def sweeping(store: SessionStore) -> None:
    swept = await store.sweep(limit=100)
    assert_type(swept.demoted, int)
    assert_type(swept.deleted, int)


async def views_of_a_store(store: SessionStore, in_memory: InMemorySessionStore, tenant_id: UUID) -> None:
    assert_type(store.for_tenant(tenant_id), SessionStore)
    assert_type(store.within(0.5), SessionStore)
    assert_type(in_memory.for_tenant(tenant_id).within(0.5), InMemorySessionStore)
    assert_type(await store.health_check(), bool)


async def what_is_refused(store: SessionStore, session: Session) -> None:
    await store.get(str(session.session_id))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.save(session, True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await store.save(session.session_id)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.get_by_channel(session.tenant_id, "email", "")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.lock(session.session_id)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    print((await store.get(session.session_id)).status)  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    store.save(session)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
