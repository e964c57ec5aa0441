"""On a managed server: an owner without superuser and CREATEROLE migrates what an administrator has prepared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from uuid import uuid4

import pytest

from convostore import open_stores
from convostore.embedded import Embedded, open_embedded
from convostore.errors import ValidationError
from convostore.postgres import migrate, schema_version
from convostore.postgres.migrations import HEAD, VERSIONS, prepare_roles
from convostore.postgres.migrations.printing import migration_sql, roles_sql
from convostore.testing.factories import make_agent, make_session
from tests.postgres.catalogue import catalogue
from tests.postgres.databases import connected, dsn_of, fresh_database

pytestmark = pytest.mark.slow


@pytest.fixture
async def server() -> AsyncIterator[Embedded]:
    """A server on which nobody has prepared anything."""
    async with open_embedded(ephemeral=True) as opened:
        yield opened


async def owned(server: Embedded, stack: AsyncExitStack, owner: str, *, prepared: bool) -> str:
    """Return the DSN of a new database and its owner, who is nobody special."""
    name = f"of_{owner}"
    async with connected(server.postgres_dsn) as admin:
        await admin.execute(f"CREATE ROLE {owner} LOGIN")
        await admin.execute(f"CREATE DATABASE {name} OWNER {owner}")
    if prepared:
        await prepare_roles(dsn_of(server.postgres_dsn, database=name), owner)
    return dsn_of(server.postgres_dsn, database=name, user=owner)


async def use(dsn: str, server: Embedded) -> None:
    """Open the stores and use them."""
    async with open_stores(postgres_url=dsn, redis_url=server.redis_url) as stores:
        tenant = uuid4()
        agent, session = make_agent(tenant), make_session(tenant)
        await stores.config.save_agent(agent)
        await stores.sessions.save(session)
        assert await stores.config.get_agent(tenant, agent.id) == agent
        health = await stores.health()
        assert (health.ok, health.backends["postgres"].role) == (True, "convostore_app")


async def test_two_owners_without_privileges_on_roles_migrate_and_run_on_one_server(server: Embedded) -> None:
    async with AsyncExitStack() as stack:
        for owner in ("ann", "bob"):
            dsn = await owned(server, stack, owner, prepared=True)
            await use(dsn, server)
            assert await schema_version(dsn) == HEAD
            await migrate(dsn, "base")
            await use(dsn, server)


async def test_a_refused_migration_leaves_nothing_behind(server: Embedded) -> None:
    async with AsyncExitStack() as stack:
        dsn = await owned(server, stack, "carl", prepared=False)
        with pytest.raises(ValidationError, match="what convostore migrate roles prints"):
            await migrate(dsn)
    async with connected(dsn_of(server.postgres_dsn, database="of_carl")) as admin:
        for left in (
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'convostore%'",
            "SELECT nspname FROM pg_namespace WHERE nspname = 'convostore'",
            "SELECT extname FROM pg_extension WHERE extname = 'vector'",
        ):
            assert await admin.fetch(left) == []


async def test_the_printed_statements_do_what_a_migration_does(engines: Embedded) -> None:
    async with fresh_database(engines.postgres_dsn) as migrated, fresh_database(engines.postgres_dsn) as by_hand:
        await migrate(migrated)
        async with connected(by_hand) as admin:
            await admin.execute(roles_sql("postgres"))
            await admin.execute(migration_sql("base", HEAD))
            assert await schema_version(by_hand) == HEAD
            async with connected(migrated) as other:
                assert await catalogue(admin) == await catalogue(other)
            await admin.execute(migration_sql(HEAD, "base"))
            assert await schema_version(by_hand) == "base"
            for start, target in pairwise(VERSIONS):
                await admin.execute(migration_sql(start, target))
                assert await schema_version(by_hand) == target


@pytest.mark.parametrize(("start", "target", "named"), [("9999", "base", "from"), ("base", "head", "to")])
def test_an_unknown_revision_is_refused_by_name(start: str, target: str, named: str) -> None:
    with pytest.raises(ValidationError, match=f"^{named}: must be one of base, 0001"):
        migration_sql(start, target)
