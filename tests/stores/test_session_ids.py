"""Session ids are unique across tenants or per tenant alone: the database records which, and stores must agree."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from convostore import open_stores
from convostore.embedded import Embedded
from convostore.errors import ConflictError, ValidationError
from convostore.postgres import PostgresSessionStore, create_pool, migrate
from convostore.postgres.migrations import keep_session_ids
from convostore.testing.factories import make_session
from tests.postgres.databases import fresh_database


@pytest.fixture
async def empty(engines: Embedded) -> AsyncIterator[str]:
    """The DSN of an empty database."""
    async with fresh_database(engines.postgres_dsn) as dsn:
        yield dsn


async def test_a_new_database_is_made_as_the_setting_says(empty: str, engines: Embedded) -> None:
    one = make_session(uuid4())
    other = make_session(uuid4(), session_id=one.session_id)
    urls = {"postgres_url": empty, "redis_url": engines.redis_url, "sweep_every": 0.0}
    async with open_stores(**urls, sessions_by_tenant=True) as stores:  # type: ignore[arg-type]
        for session in (one, other):
            bound = stores.for_tenant(session.tenant_id)
            await bound.sessions.save(session)
            assert (await bound.sessions.get(session.session_id)) == session
        with pytest.raises(ValidationError, match="for_tenant"):
            await stores.sessions.get(one.session_id)
    with pytest.raises(ValidationError, match=r"unique per tenant alone; set sessions_by_tenant=True"):
        async with open_stores(**urls):  # type: ignore[arg-type]
            pytest.fail("the database was made for ids per tenant")


async def test_the_environment_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOSTORE_SESSIONS_BY_TENANT", "true")
    async with open_stores(backend="memory") as stores:
        with pytest.raises(ValidationError, match="for_tenant"):
            await stores.sessions.get(uuid4())


async def test_a_store_is_refused_by_a_database_of_the_other_kind(empty: str) -> None:
    await migrate(empty)
    async with await create_pool(empty) as pool:
        with pytest.raises(
            ValidationError, match=r"across tenants; .*convostore migrate --sessions-by-tenant"
        ) as caught:
            await PostgresSessionStore(pool, sessions_by_tenant=True).save(make_session(uuid4()))
        assert caught.value.outcome == "not_applied"


async def test_a_database_is_changed_and_changed_back_unless_two_tenants_have_an_id(empty: str) -> None:
    with pytest.raises(ValidationError, match="run: convostore migrate"):
        await keep_session_ids(empty, by_tenant=True)
    await migrate(empty)
    assert [await keep_session_ids(empty, by_tenant=True) for _ in range(2)] == [True, False]
    session = make_session(uuid4())
    again = make_session(uuid4(), session_id=session.session_id)
    async with await create_pool(empty) as pool:
        store = PostgresSessionStore(pool, sessions_by_tenant=True)
        await store.save(session)
        await store.save(again)
        with pytest.raises(ValidationError, match="two tenants have the same id"):
            await keep_session_ids(empty, by_tenant=False)
        await store.delete(again.session_id, tenant_id=again.tenant_id)
    assert [await keep_session_ids(empty, by_tenant=False) for _ in range(2)] == [True, False]
    async with await create_pool(empty) as pool:
        across = PostgresSessionStore(pool)
        assert await across.get(session.session_id) == session
        with pytest.raises(ConflictError):
            await across.save(again, overwrite=True)
