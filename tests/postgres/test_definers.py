"""Functions above row-level security: the application learns and changes nothing of a tenant that is not bound."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
)
from convostore.testing.factories import (
    make_agent,
    make_entity,
    make_episode,
    make_field,
    make_profile,
    make_session,
    make_turn,
)
from tests.postgres.databases import connected

DEFINERS = """
SELECT proname FROM pg_proc WHERE pronamespace = 'convostore'::regnamespace AND prosecdef ORDER BY proname
"""

CALLS = {
    # Of one tenant, $1, with its agent $2 and its session $3: they know only the bound one.
    "matching_episodes": "SELECT * FROM convostore.matching_episodes($1, $2, 'tea', 'simple', false, NULL, NULL, NULL, "
    "NULL, NULL, NULL, NULL, 10) WHERE $3::uuid IS NOT NULL",
    "scored_episodes": "SELECT * FROM convostore.scored_episodes($1, $2, 'tea', '{tea}', false, 'simple', NULL, NULL, "
    "NULL, NULL, NULL, NULL, NULL, 10) WHERE $3::uuid IS NOT NULL",
    "named_entities": "SELECT * FROM convostore.named_entities($1, $2, 'tea', '{tea}') WHERE $3::uuid IS NOT NULL",
    "profiles_with_field": "SELECT convostore.profiles_with_field($1, 'name', '\"Ann\"') "
    "WHERE ($2::uuid, $3::uuid) IS NOT NULL",
    "record_audit": "SELECT convostore.record_audit($1, 'event', now(), ARRAY[gen_random_uuid()], ARRAY[$3::uuid], "
    "ARRAY[NULL]::bigint[], ARRAY[NULL]::uuid[], ARRAY[NULL]::uuid[], '{noted}', ARRAY[now()], "
    "ARRAY['{}']::bytea[]) WHERE $2::uuid IS NOT NULL",
    "record_audit_item": "SELECT convostore.record_audit_item($1, 'event', now(), gen_random_uuid(), $3::uuid, NULL, "
    "NULL, NULL, 'noted', now(), '{}') WHERE $2::uuid IS NOT NULL",
}

MAINTENANCE = {
    # Of all tenants: for maintenance alone, and of the tenants there are for whoever only reads.
    "drop_audit_months": "SELECT convostore.drop_audit_months('1800-01-01')",
    "large_spaces": "SELECT * FROM convostore.large_spaces()",
    "tenants": "SELECT * FROM convostore.tenants(NULL, 10)",
    "tenants_to_purge": "SELECT convostore.tenants_to_purge(now())",
    "tenants_with_embeddings": "SELECT convostore.tenants_with_embeddings()",
    "tenants_with_stale_fields": "SELECT convostore.tenants_with_stale_fields(now())",
    "text_tenants": "SELECT convostore.text_tenants()",
    "vector_spaces": "SELECT * FROM convostore.vector_spaces()",
    "vector_spaces_above": "SELECT * FROM convostore.vector_spaces_above(20000)",
}

EXCEPTIONS = {
    # Of all tenants, and what they tell the application.
    "create_audit_months": "nothing: how many partitions were missing",
    "old_sessions": "the ids of the sessions that a sweep deletes next",
    "session_tenant": "whose a session is",
}


async def bind(connection: Any, tenant: UUID | None) -> None:
    """Bind the rest of a transaction to a tenant, or to none."""
    await connection.execute("SELECT convostore.bind($1)", tenant)


async def test_every_function_above_row_level_security_is_tested_here(admin: Any) -> None:
    found = [name for (name,) in await admin.fetch(DEFINERS)]
    assert found == sorted(CALLS | MAINTENANCE | EXCEPTIONS)


@pytest.mark.parametrize("name", CALLS)
async def test_it_knows_only_the_bound_tenant(pool: asyncpg.Pool[Any], admin: Any, name: str) -> None:
    tenant, agent = uuid4(), uuid4()
    turn = make_turn(tenant)
    await PostgresMemoryStore(pool).add_episode(make_episode(tenant, agent, content="tea", language="simple"))
    await PostgresMemoryStore(pool).add_entity(make_entity(tenant, agent, name="Tea"))
    await PostgresProfileStore(pool).save_profile(
        make_profile(tenant, id=turn.session_id, fields={"name": make_field(name="name", value="Ann")})
    )
    await PostgresAuditStore(pool).save_turn(turn)
    trail = "SELECT count(*), max(sequence) FROM convostore.audit_record WHERE tenant_id = $1"
    before = await admin.fetch(trail, tenant)
    for bound in (uuid4(), None, tenant):
        async with pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await bind(connection, bound)
            try:
                found = await connection.fetch(CALLS[name], tenant, agent, turn.session_id)
            except asyncpg.InsufficientPrivilegeError:
                found = []
            assert len(found) == (bound == tenant)
            await transaction.rollback()
    assert await admin.fetch(trail, tenant) == before


@pytest.mark.parametrize("name", MAINTENANCE)
async def test_what_concerns_all_tenants_is_refused_to_the_application(
    server: Embedded, tenant: UUID, name: str
) -> None:
    for bound in (tenant, uuid4(), None):
        async with connected(server.postgres_dsn, role="convostore_app") as connection, connection.transaction():
            await bind(connection, bound)
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for function"):
                await connection.execute(MAINTENANCE[name])
    async with connected(server.postgres_dsn, role="convostore_maintenance") as connection:
        await connection.execute(MAINTENANCE[name])


async def test_the_sweeper_learns_of_a_thousand_due_sessions_at_a_time(
    pool: asyncpg.Pool[Any], admin: Any, tenant: UUID
) -> None:
    columns = ", ".join(
        f'"{name}"'
        for (name,) in await admin.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'convostore.session'::regclass AND attnum > 0 "
            "AND attgenerated = '' AND NOT attisdropped AND attname NOT IN ('session_id', 'last_activity_at')"
        )
    )
    other = uuid4()
    session = make_session(other)
    await PostgresSessionStore(pool).save(session)
    transaction = admin.transaction()
    await transaction.start()
    await admin.execute(
        f"INSERT INTO convostore.session (session_id, last_activity_at, {columns}) "
        f"SELECT gen_random_uuid(), '1950-01-01', {columns} FROM convostore.session, generate_series(1, 1001) "
        "WHERE session_id = $1",
        session.session_id,
    )
    await admin.execute("SET LOCAL ROLE convostore_app")
    ids = "SELECT sum(cardinality(session_ids)) FROM convostore.old_sessions($1, $2)"
    before = datetime(1951, 1, 1, tzinfo=UTC)
    assert [await admin.fetchval(ids, before, most) for most in (10, 1_000, 1_000_000, None)] == [10, *[1_000] * 3]
    await transaction.rollback()


async def test_a_reader_learns_which_tenants_there_are_page_by_page_whatever_they_have(
    server: Embedded, pool: asyncpg.Pool[Any], admin: Any
) -> None:
    made = [uuid4() for _ in range(4)]
    await PostgresConfigStore(pool).save_agent(make_agent(made[0]))
    await PostgresSessionStore(pool).save(make_session(made[1]))
    await PostgresMemoryStore(pool).add_episode(make_episode(made[2], uuid4()))
    await PostgresProfileStore(pool).save_profile(make_profile(made[3]))
    expected = await admin.fetch(
        "SELECT tenant_id FROM convostore.agent UNION SELECT tenant_id FROM convostore.session "
        "UNION SELECT tenant_id FROM convostore.episode UNION SELECT tenant_id FROM convostore.profile ORDER BY 1"
    )
    assert {*made} <= {tenant for (tenant,) in expected}
    async with connected(server.postgres_dsn, role="convostore_reader") as reader:
        found: list[Any] = []
        while page := await reader.fetch(
            "SELECT tenant_id FROM convostore.tenants($1, 3)", found[-1][0] if found else None
        ):
            assert len(page) == 3 or len(found) + len(page) == len(expected)
            found += page
        assert found == expected
        for setting in ("", str(made[0])):
            await reader.execute("SELECT set_config('convostore.tenant', $1, false)", setting)
            seen = await reader.fetchval("SELECT count(*) FROM convostore.agent")
            assert seen == (1 if setting else 0)
