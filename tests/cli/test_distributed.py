"""Every command where tables are distributed: what it sends keeps the rules of Citus, and doctor finds nothing wrong.

Without Citus: the database is distributed by the stand-in of `tests/postgres/citus_stand_in.sql`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from convostore.cli.targets import Target
from convostore.cli.upkeep import audit_trail
from convostore.embedded import Embedded
from convostore.errors import ValidationError
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    create_pool,
)
from convostore.testing import factories
from tests.cli.test_every_command import invoke, is_id
from tests.postgres import citus_rules
from tests.postgres.databases import connected, distributed_database
from tests.secrets.test_commands import COMMANDS, commands

CITUS = """
CREATE TABLE public.pg_dist_node AS SELECT true AS isactive, true AS shouldhaveshards, 'primary' AS noderole;
CREATE TABLE public.pg_dist_shard AS SELECT logicalrelid, 102008 AS shardid FROM public.pg_dist_partition;
GRANT SELECT ON public.pg_dist_node, public.pg_dist_shard TO PUBLIC;
"""
FUNCTIONS = """
SELECT p.proname::text, pg_get_functiondef(p.oid) FROM pg_proc AS p
WHERE p.pronamespace = 'convostore'::regnamespace AND p.prokind IN ('f', 'p')
"""
ACROSS = r"SELECT t\.tenant_id FROM convostore\.\w+ AS t LIMIT 1"
"""What asks every shard: whether a row is seen without a tenant."""
EMBEDDER = "tests.secrets.test_commands:embed"
TENANT = str(UUID(int=0))
"""Stands for the tenant in arguments."""
FURTHER: dict[str, list[list[str]]] = {
    "stats": [[]],
    "memory re-embed": [["--to", "third", "--embedder", EMBEDDER]],
    "memory reindex-text": [[]],
    "inspect sessions": [[TENANT, "--customer", TENANT]],
    "inspect profile": [[TENANT, "email:ann@example.com"]],
    "inspect memory": [[TENANT, TENANT, "tea", "--embedder", EMBEDDER]],
    "audit verify": [[TENANT, "--session", TENANT]],
}
"""Other ways in which a command asks something else."""
REFUSED = {
    "memory reindex": "reindex: where tables are distributed, vectors are searched exactly; there is no index",
    "migrate roles": "login: the server has no such user; CREATE ROLE it WITH LOGIN",
}
"""The commands that are refused, and how."""


@pytest.fixture(scope="module")
async def dsn(engines: Embedded) -> AsyncIterator[str]:
    """A distributed database."""
    async with distributed_database(engines.postgres_dsn) as dsn:
        async with connected(dsn) as admin:
            await admin.execute(CITUS)
        yield dsn


@pytest.fixture(scope="module")
async def tenant(dsn: str) -> UUID:
    """A tenant whose agent, session and profile have its own id."""
    tenant = uuid4()
    async with await create_pool(dsn) as pool:
        memory, audit = PostgresMemoryStore(pool), PostgresAuditStore(pool)
        await PostgresConfigStore(pool).save_agent(factories.make_agent(tenant, id=tenant))
        await PostgresConfigStore(pool).save_rule(factories.make_rule(tenant, tenant))
        await memory.add_episode(factories.make_episode(tenant, tenant, embedding=[1.0], embedding_model="m"))
        await memory.add_entity(factories.make_entity(tenant, tenant))
        identities = [factories.make_identity(channel_user_id="ann@example.com")]
        profile = factories.make_profile(tenant, id=tenant, channel_identities=identities)
        await PostgresProfileStore(pool).save_profile(profile)
        session = factories.make_session(tenant, session_id=tenant, agent_id=tenant, customer_profile_id=tenant)
        await PostgresSessionStore(pool, sessions_by_tenant=True).save(session)
        await audit.save_turn(factories.make_turn(tenant, session_id=tenant, agent_id=tenant))
        await audit.save_event(factories.make_event(tenant))
    return tenant


@pytest.fixture(scope="module")
async def in_sql(dsn: str) -> set[str]:
    """The functions in SQL that ask tables, which Citus does not plan, and those that call one."""
    async with connected(dsn) as admin:
        texts = dict(await admin.fetch(FUNCTIONS))
    found = {name for name, text in texts.items() if citus_rules.ddl(text)}
    while further := {name for name, text in texts.items() if called(text) & found} - found:
        found |= further
    return found


def called(text: str) -> set[str]:
    """Return the functions of the schema that a text calls."""
    return {*re.findall(r"(?<!FUNCTION )convostore\.(\w+)\(", text)}


@pytest.fixture
def sent() -> Iterator[list[str]]:
    """The statements that are sent."""
    texts: list[str] = []

    def noted(execute: Any) -> Any:
        async def note(self: Any, query: str, *arguments: Any, **more: Any) -> Any:
            texts.append(query)
            return await execute(self, query, *arguments, **more)

        return note

    with pytest.MonkeyPatch.context() as patched:
        for name in ("execute", "_execute", "_executemany"):
            patched.setattr(asyncpg.Connection, name, noted(getattr(asyncpg.Connection, name)))
        yield texts


def faults(statement: str, in_sql: set[str]) -> list[str]:
    """Return what Citus would refuse of a statement."""
    found = [f"in SQL: {name}" for name in called(statement) & in_sql]
    if "SET LOCAL ROLE" in statement:
        found.append("a role that other connections take as well")
    for each in statement.removesuffix("; COMMIT").split("; "):
        found += citus_rules.broken(each) if "convostore." in each and not re.fullmatch(ACROSS, each) else []
    return found


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"demo"}))
async def test_a_command_sends_what_citus_takes(
    engines: Embedded, dsn: str, tenant: UUID, in_sql: set[str], sent: list[str], name: str, tmp_path: Path
) -> None:
    variables = {
        "CONVOSTORE_POSTGRES_URL": dsn,
        "CONVOSTORE_REDIS_URL": engines.redis_url,
        "CONVOSTORE_SESSIONS_BY_TENANT": "true",
        "CONVOSTORE_MAX_AGE": "3600",
        "COLUMNS": "200",
    }
    usual = commands(tmp_path)
    ways = [(name, usual[name]), *((name, arguments) for arguments in FURTHER.get(name, ()))]
    if name == "config import":
        ways.insert(0, ("config export", usual["config export"]))
    for command, given in ways:
        arguments = [str(tenant) if is_id(argument) else argument for argument in given]
        result = await invoke(*command.split(), *arguments, **variables)
        refused = f"convostore: {REFUSED[name]}\n" if name in REFUSED else ""
        assert (result.exit_code, result.stderr) == (2 if refused else 0, refused), result.stdout
    assert [(each, text) for text in sent for each in faults(text, in_sql)] == []


async def test_the_advice_to_make_a_table_append_only_again_is_taken(engines: Embedded, dsn: str) -> None:
    target = Target(dsn, engines.redis_url, pool_size=10)
    async with connected(dsn) as admin:
        await admin.execute("ALTER TABLE convostore.audit_record DISABLE TRIGGER is_append_only")
    with pytest.raises(ValidationError, match="audit_record may be changed; run: CALL") as told:
        await audit_trail(target)
    advice = re.search(r"CALL [^,]*\)", str(told.value))
    assert advice
    async with connected(dsn) as admin:
        await admin.execute(advice[0])
    assert "refuse changes" in await audit_trail(target)
