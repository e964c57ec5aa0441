"""The contract suite on PostgreSQL 18 and 16, whichever plans they choose."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest

from convostore.contracts import AuditStore, ConfigStore, MemoryStore, ProfileStore, SessionStore, TurnStore
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
from convostore.testing import (
    AuditStoreContract,
    ConfigStoreContract,
    MemoryStoreContract,
    ProfileStoreContract,
    SessionsByTenantContract,
    SessionStoreContract,
    TurnStoreContract,
)
from tests.postgres.databases import fresh_database

Pool: TypeAlias = "asyncpg.Pool[Any]"


# A statement must be right whichever plan is chosen: its tenant is set before anything is scanned, and an order that is
# not asked for does not come from an index.
HASH_JOINS = {"enable_nestloop": "off", "enable_mergejoin": "off"}
UNORDERED = {"enable_indexscan": "off", "enable_indexonlyscan": "off"}
MERGE_JOINS = {"enable_nestloop": "off", "enable_hashjoin": "off"}
PLANNERS = [
    pytest.param(("engines", {}), id="18"),
    pytest.param(("engines", HASH_JOINS | UNORDERED), id="18, hash joins, unordered scans", marks=pytest.mark.slow),
    pytest.param(
        ("postgres16", MERGE_JOINS | {"plan_cache_mode": "force_generic_plan"}),
        id="16, merge joins, generic plans",
        marks=pytest.mark.slow,
    ),
]


@pytest.fixture(scope="module", params=PLANNERS)
def planner(request: pytest.FixtureRequest) -> tuple[Embedded, dict[str, str]]:
    """Each version, and ways in which it may plan."""
    server, settings = request.param
    return request.getfixturevalue(server), settings


@pytest.fixture(scope="module")
async def pool(planner: tuple[Embedded, dict[str, str]]) -> AsyncIterator[Pool]:
    server, settings = planner
    async with await create_pool(server.postgres_dsn, settings=settings) as opened:
        yield opened


@pytest.fixture(scope="module")
async def database(planner: tuple[Embedded, dict[str, str]]) -> AsyncIterator[Pool]:
    server, settings = planner
    async with fresh_database(server.postgres_dsn) as dsn:
        await migrate(dsn, sessions_by_tenant=True)
        async with await create_pool(dsn, settings=settings) as opened:
            yield opened


class TestSessions(SessionStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> SessionStore:
        return PostgresSessionStore(pool)


class TestSessionsByTenant(SessionsByTenantContract):
    @pytest.fixture
    def by_tenant(self, database: Pool) -> SessionStore:
        return PostgresSessionStore(database, sessions_by_tenant=True)


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

    @pytest.fixture
    async def operator(self, planner: tuple[Embedded, dict[str, str]]) -> AsyncIterator[AuditStore]:
        server, settings = planner
        async with await create_pool(server.postgres_dsn, settings=settings, role="convostore_maintenance") as pool:
            yield PostgresAuditStore(pool)


class TestProfiles(ProfileStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> ProfileStore:
        return PostgresProfileStore(pool)


class TestTurns(TurnStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> TurnStore:
        return PostgresTurnStore(
            PostgresSessionStore(pool),
            PostgresConfigStore(pool),
            PostgresMemoryStore(pool),
            PostgresAuditStore(pool),
            PostgresProfileStore(pool),
        )
