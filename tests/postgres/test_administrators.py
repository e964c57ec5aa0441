"""A server on which nobody who migrates or connects is a superuser, as hosting companies offer it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from convostore.embedded import open_embedded
from convostore.postgres import PostgresConfigStore, create_pool, migrate
from tests.postgres.databases import connected, dsn_of
from tests.postgres.filled import fill


@pytest.fixture
async def hosted(area: Path) -> AsyncIterator[str]:
    """The DSN of an empty database with pgvector, whose owner may create roles and is no superuser."""
    async with open_embedded(ephemeral=True, valkey=False) as engines:
        async with connected(engines.postgres_dsn) as superuser:
            await superuser.execute("CREATE ROLE dba LOGIN CREATEROLE")
            await superuser.execute("CREATE DATABASE hosted OWNER dba")
        async with connected(dsn_of(engines.postgres_dsn, database="hosted")) as superuser:
            await superuser.execute("CREATE EXTENSION vector")
        yield dsn_of(engines.postgres_dsn, database="hosted", user="dba")


async def test_the_owner_of_the_database_migrates_and_a_member_of_the_application_role_works(hosted: str) -> None:
    await migrate(hosted)
    async with connected(hosted) as owner:
        await owner.execute("CREATE ROLE service LOGIN IN ROLE convostore_app")
    async with await create_pool(hosted.replace("//dba@", "//service@")) as pool:
        tenant = await fill(pool)
        agents, _ = await PostgresConfigStore(pool).get_agents(tenant)
        assert len(agents) == 1
    async with await create_pool(hosted) as pool:
        assert await PostgresConfigStore(pool).get_agents(tenant) == (agents, 1)
    async with connected(hosted) as owner:
        # Whoever migrates belongs to the owner and the application, and row-level security binds it all the same.
        assert await owner.fetchval("SELECT count(*) FROM convostore.agent") == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await owner.execute("TRUNCATE convostore.audit_record")
    await migrate(hosted, "base")
    await migrate(hosted)
