"""The functions of a distributed database keep the rules of Citus in their statements."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from convostore.postgres import PostgresMemoryStore, create_pool
from convostore.postgres.distribution import DISTRIBUTED
from convostore.testing.factories import make_episode
from tests.postgres.analysed import Catalogue, faults, printing, read
from tests.postgres.citus_functions import broken, local, unbound, written
from tests.postgres.databases import connected

FUNCTIONS = """
SELECT p.proname::text AS name, pg_get_functiondef(p.oid) AS definition, p.prosecdef AS is_definer
FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
WHERE p.pronamespace = 'convostore'::regnamespace AND l.lanname = 'plpgsql' AND p.prokind = 'f' ORDER BY 1
"""

NOT_CALLED = {"record_audit", "copy_to_large_space"}
"""Functions that nothing calls where tables are distributed."""

ACROSS = {
    "old_sessions",
    "tenants",
    "text_tenants",
    "tenants_with_embeddings",
    "tenants_to_purge",
    "tenants_with_stale_fields",
}
"""Functions that read every shard, for upkeep."""

HEAD = "CREATE FUNCTION convostore.a(tenant uuid) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE n bigint; BEGIN "
BROKEN = {
    f"{HEAD}SELECT count(*) INTO n FROM convostore.agent AS a; RETURN n; END $$": "one_tenant: a without its tenant",
    f"{HEAD}n := (SELECT count(*) FROM convostore.agent AS a); RETURN n; END $$": "one_tenant: a without its tenant",
    f"{HEAD}RETURN (SELECT count(*) FROM convostore.agent AS a WHERE a.tenant_id = n OR true); END $$": (
        "one_tenant: a without its tenant"
    ),
    f"{HEAD}UPDATE convostore.agent AS a SET updated_at = clock_timestamp() WHERE a.tenant_id = tenant; END $$": (
        "volatile: clock_timestamp"
    ),
    f"{HEAD}INSERT INTO convostore.agent (tenant_id) SELECT tenant FROM unnest('{{1}}'::int[]); RETURN 1; END $$": (
        "insert_source: SELECT without RETURNING"
    ),
}
"""Functions that break a rule, each with what is found."""


@pytest.fixture(scope="module")
async def functions(prepared: str) -> dict[str, Any]:
    """The PL/pgSQL functions that are called where tables are distributed."""
    async with connected(prepared) as administrator:
        rows = await administrator.fetch(FUNCTIONS)
    return {row["name"]: row for row in rows if row["name"] not in NOT_CALLED}


async def test_statements_keep_the_rules(functions: dict[str, Any]) -> None:
    found = {name: broken(row["definition"], across=name in ACROSS) for name, row in functions.items()}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


async def test_what_is_read_as_the_caller_is_bound(functions: dict[str, Any]) -> None:
    """Of `convostore_search`, which owns the others, every row is seen."""
    found = {name: unbound(row["definition"]) for name, row in functions.items() if not row["is_definer"]}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


async def test_no_statement_reads_the_catalogue_of_one_node_beside_tables_of_all(functions: dict[str, Any]) -> None:
    found = {name: local(row["definition"]) for name, row in functions.items()}
    assert {name: tables for name, tables in found.items() if tables} == {}


async def test_nothing_is_written_as_another_role(functions: dict[str, Any]) -> None:
    """A transaction writes to the shards of a tenant as one role."""
    found = {name: written(row["definition"]) & {*DISTRIBUTED} for name, row in functions.items() if row["is_definer"]}
    assert {name: tables for name, tables in found.items() if tables} == {}


@pytest.mark.parametrize(("definition", "why"), BROKEN.items())
def test_a_rule_can_fail(definition: str, why: str) -> None:
    assert broken(definition, across=False) == [why]


def test_what_is_unbound_or_written_or_local_is_found() -> None:
    bound = "(SELECT convostore.bind(v.t) FROM (SELECT tenant AS t OFFSET 0) AS v) AND"
    write = "UPDATE convostore.agent AS a SET name = 'a' WHERE {} a.tenant_id = tenant; END $$"
    assert unbound(HEAD + write.format("")) == ["agent"]
    assert unbound(HEAD + write.format(bound)) == []
    assert written(HEAD + write.format("")) == {"agent"}
    either = "EXISTS (SELECT FROM {}) OR EXISTS (SELECT FROM convostore.audit_retention AS r WHERE r.month < now())"
    assert local(f"{HEAD}RETURN {either.format('pg_class AS c')}; END $$") == ["pg_class"]


@pytest.mark.parametrize("episodes", [3, 1_001])
async def test_what_a_text_search_composes_is_sent_to_one_shard(prepared: str, episodes: int) -> None:
    tenant, agent = uuid4(), uuid4()
    async with await create_pool(prepared) as pool:
        store = PostgresMemoryStore(pool).within(60)
        await store.add_episodes([make_episode(tenant, agent, content=f"sparrow {n}") for n in range(episodes)])
    search = (
        "SELECT count(*) FROM convostore.scored_episodes($1, $2, 'sparrow | 7', '{sparrow,7}', false, {}, "
        "NULL, NULL, NULL, NULL, NULL, NULL, now(), 10)"
    )
    async with connected(prepared) as administrator:
        catalogue = await Catalogue.of(administrator, list(DISTRIBUTED))
        await administrator.execute("SELECT set_config('convostore.tenant', $1, false)", str(tenant))
        await administrator.execute("ALTER FUNCTION convostore.scored_episodes RESET client_min_messages")
        async with printing(administrator) as printed:
            for language in ("NULL", "'simple'"):
                assert await administrator.fetchval(search.replace("{}, ", f"{language}, ", 1), tenant, agent)
    trees = [tree for tree in map(read, printed) if catalogue.has_tables(tree)]
    assert len(trees) > episodes // 1_000 * 4
    assert [fault for tree in trees for fault in faults(tree, catalogue)] == []
