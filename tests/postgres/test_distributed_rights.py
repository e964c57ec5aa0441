"""Who may do what in a database that is prepared for Citus, and as whom its functions reach the rows of a tenant.

A function runs on the coordinator. What it asks is sent to the shard as its caller, or as its owner if it is SECURITY
DEFINER, and finds there the tenant that a statement of the same transaction has bound on that shard, or none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.postgres import PostgresAuditStore, create_pool
from convostore.testing.factories import make_turn
from tests.postgres.acting_roles import CALLER, FUNCTIONS
from tests.postgres.databases import connected

RIGHTS = """
SELECT c.relname || ': ' || a.privilege_type || ' to ' || a.grantee::regrole
FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'convostore'::regnamespace AND NOT c.relispartition AND a.grantee <> c.relowner
UNION ALL
SELECT p.proname || '(): ' || CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
FROM pg_proc AS p CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
WHERE p.pronamespace = 'convostore'::regnamespace AND a.grantee <> p.proowner
UNION ALL
SELECT p.proname || '() as ' || p.proowner::regrole FROM pg_proc AS p
WHERE p.pronamespace = 'convostore'::regnamespace AND p.prosecdef
"""

ACTING = {
    # As the caller, who sees the bound tenant alone; their statements bind it (`test_citus_functions`).
    "lock_audit_head": (CALLER, True),
    "record_audit_item": (CALLER, True),
    # Of one tenant, as a role that sees all rows of what is searched; they compare the bound tenant on the coordinator.
    "named_entities": ("convostore_search", False),
    "profiles_with_field": ("convostore_search", False),
    "scored_episodes": ("convostore_search", True),
    # Of all tenants, as the same role.
    "old_sessions": ("convostore_search", False),
    "tenants": ("convostore_search", False),
    "tenants_to_purge": ("convostore_search", False),
    "tenants_with_embeddings": ("convostore_search", False),
    "tenants_with_stale_fields": ("convostore_search", False),
    "text_tenants": ("convostore_search", False),
    # Of no tenant's rows: partitions, and the months in a table without row-level security.
    "audit_month_is_made": (CALLER, True),
    "create_audit_months": ("convostore_owner", True),
    "drop_audit_months": ("convostore_owner", True),
}
"""The functions that ask tables where they are distributed: as whom, and whether they may write."""

NOT_CALLED = {"record_audit", "matching_episodes", "copy_to_large_space"}
"""The functions that ask tables and that nothing calls there."""


@pytest.fixture
async def administrator(prepared: str) -> AsyncIterator[Any]:
    """A superuser's connection to it."""
    async with connected(prepared) as connection:
        yield connection


@pytest.fixture
async def store(prepared: str) -> AsyncIterator[PostgresAuditStore]:
    """A store of the application on it."""
    async with await create_pool(prepared) as pool:
        yield PostgresAuditStore(pool)


async def test_what_differs_in_rights_is_that_records_are_appended_as_the_caller(
    engines: Embedded, administrator: Any
) -> None:
    async with connected(engines.postgres_dsn) as plain:
        before = {right for (right,) in await plain.fetch(RIGHTS)}
    after = {right for (right,) in await administrator.fetch(RIGHTS)}
    writers = ("convostore_app", "convostore_maintenance")
    added = [f"audit_{table}: INSERT to {role}" for table in ("body", "head", "record") for role in writers]
    added += [f"audit_head: UPDATE to {role}" for role in writers]
    added += [f"lock_audit_head(): {role}" for role in writers]
    assert after - before == {*added, "bind(): convostore_search", "bind_inserted(): PUBLIC"}
    assert before - after == {"record_audit_item() as convostore_search"}


@pytest.mark.parametrize("role", ["convostore_app", "convostore_maintenance", "convostore_owner", "postgres"])
@pytest.mark.parametrize("table", ["audit_record", "audit_body"])
@pytest.mark.parametrize("change", ["UPDATE {} SET tenant_id = tenant_id", "DELETE FROM {}", "TRUNCATE {}"])
async def test_no_role_changes_what_is_recorded(
    prepared: str, store: PostgresAuditStore, role: str, table: str, change: str
) -> None:
    turn = make_turn(uuid4())
    await store.save_turn(turn)
    async with connected(prepared, **{"role": role, "convostore.tenant": str(turn.tenant_id)}) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(change.format(f"convostore.{table}"))
    assert await store.get_turn(turn.tenant_id, turn.turn_id) == turn


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("UPDATE convostore.audit_head SET sequence = sequence + 1", "missing"),
        ("UPDATE convostore.audit_head SET sequence = 0, hash = ''", "head"),
        (
            "INSERT INTO convostore.audit_record SELECT tenant_id, kind, gen_random_uuid(), session_id, NULL, 2, "
            "recorded_at, version, hash, digest, hash FROM convostore.audit_record",
            "changed",
        ),
        (
            "INSERT INTO convostore.audit_body SELECT tenant_id, kind, gen_random_uuid(), recorded_at, session_id, "
            'turn_id, customer_profile_id, event_type, "timestamp", content FROM convostore.audit_body',
            "unrecorded",
        ),
    ],
)
async def test_what_the_application_appends_by_hand_is_found_as_long_as_the_chain_does_not_fit(
    prepared: str, store: PostgresAuditStore, written: str, reason: str
) -> None:
    turn = make_turn(uuid4())
    await store.save_turn(turn)
    assert (await store.verify(turn.tenant_id)).ok
    async with connected(
        prepared, **{"role": "convostore_app", "convostore.tenant": str(turn.tenant_id)}
    ) as connection:
        await connection.execute(written)
    problem = (await store.verify(turn.tenant_id)).problem
    assert problem is not None
    assert problem.reason == reason


async def test_functions_ask_tables_as_these_roles(administrator: Any) -> None:
    found = {name: (role, writes) for name, role, writes in await administrator.fetch(FUNCTIONS)}
    assert {name: how for name, how in found.items() if name not in NOT_CALLED} == ACTING
    assert found.keys() - ACTING.keys() <= NOT_CALLED
