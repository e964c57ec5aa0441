"""The contract suite on PostgreSQL 18 and 16."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from convostore.contracts import AuditStore, ConfigStore, MemoryStore, ProfileStore, SessionStore
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    create_pool,
)
from convostore.testing import (
    AuditStoreContract,
    ConfigStoreContract,
    MemoryStoreContract,
    ProfileStoreContract,
    SessionStoreContract,
)

Pool = asyncpg.Pool[Any]


@pytest.fixture(scope="module", params=["engines", "postgres16"], ids=["18", "16"])
async def pool(request: pytest.FixtureRequest) -> AsyncIterator[Pool]:
    """A pool on each version."""
    async with await create_pool(request.getfixturevalue(request.param).postgres_dsn) as opened:
        yield opened


class TestSessions(SessionStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> SessionStore:
        return PostgresSessionStore(pool)


class TestConfig(ConfigStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> ConfigStore:
        return PostgresConfigStore(pool)


class TestMemory(MemoryStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> MemoryStore:
        return PostgresMemoryStore(pool)


class TestAudit(AuditStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> AuditStore:
        return PostgresAuditStore(pool)


class TestProfiles(ProfileStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> ProfileStore:
        return PostgresProfileStore(pool)
