"""pgvector may be in any schema, and in the search path or not: vectors are stored and found all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from convostore.contracts import ConfigStore, MemoryStore
from convostore.embedded import Embedded
from convostore.errors import ValidationError
from convostore.postgres import PostgresConfigStore, PostgresMemoryStore, create_pool, migrate
from convostore.testing.config.rule_search import RuleSearchContract
from convostore.testing.memory.bulk_adds import BulkAddContract
from convostore.testing.memory.hybrid_search import HybridSearchContract
from convostore.testing.memory.vector_search import EmbeddingMigrationContract, VectorSearchContract
from tests.postgres.databases import connected, fresh_database

pytestmark = pytest.mark.slow

ID = UUID(int=1)
IN_A_SCHEMA = (
    'CREATE SCHEMA "its own"; CREATE EXTENSION vector SCHEMA "its own"; GRANT USAGE ON SCHEMA "its own" TO PUBLIC'
)
OUT_OF_THE_PATH = """
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = {}', current_database()); END $$
"""


async def prepared(dsn: str, before: str, after: str) -> None:
    """Migrate a database whose administrator has done something before and does something afterwards."""
    async with connected(dsn) as admin:
        if before:
            await admin.execute(before)
        await migrate(dsn)
        if after:
            await admin.execute(after)


@pytest.fixture(
    scope="module",
    params=[
        (IN_A_SCHEMA, ""),
        (IN_A_SCHEMA, OUT_OF_THE_PATH.format("app, pg_catalog")),
        ("", OUT_OF_THE_PATH.format("app")),
        ("", OUT_OF_THE_PATH.format("''''")),
    ],
    ids=["in a schema", "in a schema, with a path", "outside the path", "with an empty path"],
)
async def pool(engines: Embedded, request: pytest.FixtureRequest) -> AsyncIterator[asyncpg.Pool[Any]]:
    """A pool on a database where pgvector is not where it usually is."""
    async with fresh_database(engines.postgres_dsn) as dsn:
        await prepared(dsn, *request.param)
        async with await create_pool(dsn) as opened:
            yield opened


class TestMemory(BulkAddContract, VectorSearchContract, EmbeddingMigrationContract, HybridSearchContract):
    @pytest.fixture
    def store(self, pool: asyncpg.Pool[Any]) -> MemoryStore:
        return PostgresMemoryStore(pool)


class TestRules(RuleSearchContract):
    @pytest.fixture
    def store(self, pool: asyncpg.Pool[Any]) -> ConfigStore:
        return PostgresConfigStore(pool)


async def opened_by_an_application(dsn: str, stack: AsyncExitStack, **settings: str) -> PostgresMemoryStore:
    """Return a store on a pool that an application opened, which resets its connections."""
    pool = asyncpg.create_pool(dsn, min_size=0, server_settings={"role": "convostore_app", **settings})
    return PostgresMemoryStore(await stack.enter_async_context(pool))


async def test_a_pool_that_resets_its_connections_needs_the_schema_in_its_path(engines: Embedded) -> None:
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(fresh_database(engines.postgres_dsn))
        await prepared(dsn, IN_A_SCHEMA, "")
        store = await opened_by_an_application(dsn, stack)
        with pytest.raises(ValidationError, match="pool: pgvector is in the schema its own"):
            await store.get_episode(ID, ID)
        store = await opened_by_an_application(dsn, stack, search_path='"its own"')
        assert await store.vector_search_episodes([1.0], ID, ID) == []
        assert await store.vector_search_episodes([1.0], ID, ID) == []


async def test_a_role_that_may_not_use_the_schema_is_told_the_grant(engines: Embedded) -> None:
    async with fresh_database(engines.postgres_dsn) as dsn:
        await prepared(dsn, IN_A_SCHEMA, 'REVOKE USAGE ON SCHEMA "its own" FROM PUBLIC')
        async with await create_pool(dsn) as pool:
            with pytest.raises(ValidationError, match='GRANT USAGE ON SCHEMA "its own" TO'):
                await PostgresMemoryStore(pool).get_episode(ID, ID)
