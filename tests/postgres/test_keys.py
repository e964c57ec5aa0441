"""Structural isolation, read from the catalogue: every key and index of every table starts with `tenant_id`."""

from __future__ import annotations

from typing import Any

from convostore.domain.declarations import CONFIG, PROFILE
from tests.postgres.databases import NO_TENANT

LEADING = """
SELECT c.relname AS index, i.indisunique AS is_unique,
       (SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[0]) AS leading
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_class AS t ON t.oid = i.indrelid
WHERE t.relnamespace = 'convostore'::regnamespace AND t.relname <> ALL ($1)
"""

CONSTRAINTS = """
SELECT conname, contype, condeferrable, pg_get_constraintdef(oid) AS definition,
       (SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = conrelid AND a.attnum = conkey[1]) AS leading,
       (SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = confrelid AND a.attnum = confkey[1]) AS referred
FROM pg_constraint
WHERE connamespace = 'convostore'::regnamespace AND contype IN ('p', 'u', 'f', 'x')
  AND (conrelid::regclass)::text <> ALL ($1)
"""

POLICIES = """
SELECT policyname, permissive, roles::text[] AS roles, cmd, qual, with_check FROM pg_policies
WHERE schemaname = 'convostore' AND tablename = $1 ORDER BY policyname
"""

UNPROTECTED = """
SELECT c.relname FROM pg_class AS c
WHERE c.relnamespace = 'convostore'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')
  AND NOT (
    c.relrowsecurity AND c.relforcerowsecurity
    AND (SELECT count(*) FROM pg_policy AS p WHERE p.polrelid = c.oid) = 2
    AND has_table_privilege('convostore_app', c.oid, 'SELECT')
    AND has_table_privilege('convostore_reader', c.oid, 'SELECT')
    AND (has_table_privilege('convostore_maintenance', c.oid, 'INSERT')
         OR has_table_privilege('convostore_search', c.oid, 'INSERT')))
"""
"""What holds tenants' rows and was not given to `convostore.protect`."""

UNPREFIXED = {
    "session_session_id_key",  # a session's id is unique across tenants: the given calls by id name no tenant
    # The time that sweeps and purges look for, in all tenants, by functions of their own:
    "session_last_activity_at_idx",
    *(f"{each.name}_purge_idx" for each in (*CONFIG, PROFILE)),
    "profile_field_stale_idx",
    "episode_words_idx",  # a GIN index cannot hold a uuid without btree_gin, which the embedded server lacks
    "entity_terms_idx",  # likewise: in both a hash of tenant and agent is one of the terms
}
"""The indexes that do not start with `tenant_id`, all of them."""


async def test_every_table_with_a_tenant_has_forced_row_level_security(admin: Any) -> None:
    rows = await admin.fetch(
        "SELECT relname, relrowsecurity AND relforcerowsecurity AS forced, "
        "EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id' AND attnotnull "
        "AND atttypid = 'uuid'::regtype) AS has_tenant "
        "FROM pg_class AS c WHERE relnamespace = 'convostore'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')"
    )
    assert {row["relname"] for row in rows if not row["has_tenant"]} == set(NO_TENANT)
    assert {row["relname"] for row in rows if not row["forced"]} == set(NO_TENANT)


async def test_every_table_with_a_tenant_is_protected_and_a_forgotten_one_would_be_noticed(admin: Any) -> None:
    assert await admin.fetch(UNPROTECTED) == []
    transaction = admin.transaction()
    await transaction.start()
    await admin.execute("CREATE TABLE convostore.forgotten (tenant_id uuid NOT NULL)")
    assert await admin.fetch(UNPROTECTED) == [("forgotten",)]
    await admin.execute("CALL convostore.protect('convostore.forgotten')")
    assert await admin.fetch(UNPROTECTED) == []
    await transaction.rollback()


async def test_every_table_has_the_same_two_policies_and_no_other(admin: Any) -> None:
    tables = await admin.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'convostore'::regnamespace AND relkind IN ('r', 'p') "
        "AND NOT relispartition AND relname <> ALL ($1)",
        NO_TENANT,
    )
    for (table,) in tables:
        search, tenants = await admin.fetch(POLICIES, table)
        reads = (("SELECT", "true"), ("ALL", tenants["qual"]))[table.startswith("audit_")]
        assert (search["roles"], search["cmd"], search["qual"]) == (["convostore_search"], *reads)
        assert search["with_check"] is None
        assert (tenants["policyname"], tenants["permissive"], tenants["cmd"]) == (
            "of_bound_tenant",
            "PERMISSIVE",
            "ALL",
        )
        assert sorted(tenants["roles"]) == ["convostore_app", "convostore_maintenance", "convostore_reader"]
        assert tenants["qual"] == (
            "(tenant_id = (NULLIF(current_setting('convostore.tenant'::text, true), ''::text))::uuid)"
        )
        assert tenants["with_check"] is None  # then the condition of reading holds for writing


async def test_every_index_starts_with_the_tenant(admin: Any) -> None:
    rows = await admin.fetch(LEADING, NO_TENANT)
    assert len(rows) > 30
    assert {row["index"] for row in rows if row["leading"] != "tenant_id"} == UNPREFIXED


async def test_the_one_unique_index_across_tenants_is_the_session_id(admin: Any) -> None:
    rows = await admin.fetch(LEADING, NO_TENANT)
    across = {row["index"] for row in rows if row["is_unique"] and row["leading"] != "tenant_id"}
    assert across == {"session_session_id_key"}


async def test_every_constraint_starts_with_the_tenant_on_both_sides(admin: Any) -> None:
    rows = await admin.fetch(CONSTRAINTS, [f"convostore.{table}" for table in NO_TENANT])
    assert len(rows) >= 18
    for row in rows:
        assert row["leading"] == "tenant_id", row["conname"]
        if row["contype"] == b"f":
            assert row["referred"] == "tenant_id", row["conname"]


async def test_keys_are_plain_enough_for_a_distributed_database(admin: Any) -> None:
    for row in await admin.fetch(CONSTRAINTS, [f"convostore.{table}" for table in NO_TENANT]):
        assert not row["condeferrable"], row["conname"]
        assert "SET NULL" not in row["definition"], row["conname"]
        assert "ON UPDATE" not in row["definition"], row["conname"]
    sequences = await admin.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'convostore'::regnamespace AND relkind = 'S'"
    )
    assert sequences == []
