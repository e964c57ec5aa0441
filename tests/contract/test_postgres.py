"""The contract suite on PostgreSQL 18 and 16."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest

from convostore.contracts import AuditStore, ConfigStore, MemoryStore, ProfileStore, SessionStore
from convostore.embedded import Embedded
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

Pool: TypeAlias = "asyncpg.Pool[Any]"


@pytest.fixture(scope="module", params=["engines", "postgres16"], ids=["18", "16"])
def server(request: pytest.FixtureRequest) -> Embedded:
    """Each version."""
    opened: Embedded = request.getfixturevalue(request.param)
    return opened


@pytest.fixture(scope="module")
async def pool(server: Embedded) -> AsyncIterator[Pool]:
    async with await create_pool(server.postgres_dsn) as opened:
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
