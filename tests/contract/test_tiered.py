"""The contract suite on two tiers: with a hot tier, and with one that is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convostore.contracts import SessionStore, TurnStore
from convostore.embedded import Embedded
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    PostgresTurnStore,
    create_pool,
    migrate,
)
from convostore.redis import create_client
from convostore.testing import SessionsByTenantContract, SessionStoreContract, TurnStoreContract
from convostore.tiered import TieredSessionStore
from tests.postgres.databases import fresh_database


@pytest.fixture(scope="module")
async def persistent(engines: Embedded) -> AsyncIterator[PostgresSessionStore]:
    async with await create_pool(engines.postgres_dsn) as pool:
        yield PostgresSessionStore(pool)


@pytest.fixture(scope="module")
async def separate(engines: Embedded) -> AsyncIterator[PostgresSessionStore]:
    async with fresh_database(engines.postgres_dsn) as dsn:
        await migrate(dsn, sessions_by_tenant=True)
        async with await create_pool(dsn) as pool:
            yield PostgresSessionStore(pool, sessions_by_tenant=True)


class TestSessions(SessionStoreContract):
    @pytest.fixture
    async def store(self, engines: Embedded, persistent: PostgresSessionStore) -> AsyncIterator[SessionStore]:
        async with create_client(engines.redis_url) as client:
            store = TieredSessionStore(client, persistent)
            yield store
            await store.aclose()


class TestSessionsByTenant(SessionsByTenantContract):
    @pytest.fixture
    async def by_tenant(self, engines: Embedded, separate: PostgresSessionStore) -> AsyncIterator[SessionStore]:
        async with create_client(engines.redis_url) as client:
            store = TieredSessionStore(client, separate)
            yield store
            await store.aclose()


class TestTurns(TurnStoreContract):
    @pytest.fixture
    async def store(self, engines: Embedded, persistent: PostgresSessionStore) -> AsyncIterator[TurnStore]:
        pool = persistent._database.pool
        async with create_client(engines.redis_url) as client:
            sessions = TieredSessionStore(client, persistent)
            yield PostgresTurnStore(
                sessions,
                PostgresConfigStore(pool),
                PostgresMemoryStore(pool),
                PostgresAuditStore(pool),
                PostgresProfileStore(pool),
            )
            await sessions.aclose()


@pytest.mark.slow
class TestSessionsWithoutTheHotTier(SessionStoreContract):
    @pytest.fixture
    async def store(self, persistent: PostgresSessionStore) -> AsyncIterator[SessionStore]:
        async with create_client("redis://127.0.0.1:1") as client:
            store = TieredSessionStore(client, persistent)
            yield store
            await store.aclose()
