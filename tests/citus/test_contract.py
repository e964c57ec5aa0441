"""The contract suites on Citus, by the stores of PostgreSQL and in two tiers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

if "CONVOSTORE_TEST_CITUS_URL" not in os.environ:
    pytest.skip("CONVOSTORE_TEST_CITUS_URL names no database on Citus", allow_module_level=True)

from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.postgres import PostgresSessionStore, migrate
from convostore.postgres.distributing import distribute
from convostore.redis import create_client
from convostore.testing import SessionsByTenantContract
from convostore.tiered import TieredSessionStore
from tests.citus.conftest import Pool
from tests.postgres.databases import connected
from tests.postgres.test_distributed_form import (
    TestAudit,
    TestConfig,
    TestMemory,
    TestProfiles,
    TestSessions,
    TestTurns,
    rules,
)

__all__ = ["TestAudit", "TestConfig", "TestMemory", "TestProfiles", "TestSessions", "TestTurns", "rules"]


class TestSessionsInTwoTiers(SessionsByTenantContract):
    @pytest.fixture
    async def by_tenant(self, engines: Embedded, pool: Pool) -> AsyncIterator[SessionStore]:
        async with create_client(engines.redis_url) as client:
            store = TieredSessionStore(client, PostgresSessionStore(pool, sessions_by_tenant=True))
            yield store
            await store.aclose()


async def test_to_distribute_again_or_to_migrate_changes_nothing(dsn: str) -> None:
    assert await distribute(dsn) == []
    await migrate(dsn)


async def test_all_tables_are_colocated(dsn: str) -> None:
    async with connected(dsn) as connection:
        groups = await connection.fetch(
            "SELECT DISTINCT p.colocationid FROM pg_dist_partition AS p JOIN pg_class AS c ON c.oid = p.logicalrelid "
            "WHERE c.relnamespace = 'convostore'::regnamespace AND p.partmethod = 'h'"
        )
    assert len(groups) == 1
