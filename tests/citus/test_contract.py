"""The contract suites on Citus, in one tier and in two. No statement asks more than one shard."""

from __future__ import annotations

import re

from convostore.postgres import migrate
from convostore.postgres.distributing import distribute
from tests.citus.conftest import needs
from tests.postgres.databases import connected
from tests.postgres.test_distributed_form import (  # noqa: F401
    TestAudit,
    TestConfig,
    TestMemory,
    TestProfiles,
    TestSessions,
    TestSessionsInTwoTiers,
    TestTurns,
    TestTurnsInTwoTiers,
    pool,
    rules,
    test_a_month_without_partition_is_made_by_a_transaction_of_its_own,
)
from tests.postgres.test_distributed_rights import RIGHTS

needs(__name__, "URL")


async def test_to_distribute_again_or_to_migrate_changes_nothing(prepared: str) -> None:
    assert await distribute(prepared) == []
    await migrate(prepared)


async def test_all_tables_are_colocated(prepared: str) -> None:
    async with connected(prepared) as connection:
        groups = await connection.fetch(
            "SELECT DISTINCT p.colocationid FROM pg_dist_partition AS p JOIN pg_class AS c ON c.oid = p.logicalrelid "
            "WHERE c.relnamespace = 'convostore'::regnamespace AND p.partmethod = 'h'"
        )
    assert len(groups) == 1


async def test_no_node_grants_what_the_coordinator_does_not(prepared: str) -> None:
    listed = f"SELECT string_agg(r.granted, ';') FROM ({RIGHTS}) AS r (granted)"
    async with connected(prepared) as connection:
        granted = {right for (right,) in await connection.fetch(RIGHTS)}
        nodes = await connection.fetch("SELECT nodeport, success, result FROM run_command_on_workers($1)", listed)
    assert nodes
    for port, success, result in nodes:
        assert success, f"{port}: {result}"
        found = {re.sub(r"_\d{6,}:", ":", right) for right in result.split(";")}
        assert found - granted == set(), port
        assert "bind(): convostore_app" in found
