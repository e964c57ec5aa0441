"""Tenants on one shard, on Citus: by attacks on row-level security, and by every method beside a twin."""

from __future__ import annotations

from tests.citus.conftest import needs
from tests.isolation import test_turns
from tests.isolation.test_turns import test_a_turn_shows_nothing_of_a_twin  # noqa: F401
from tests.isolation.test_twins import test_rows_of_a_twin_stay_as_they_are  # noqa: F401
from tests.postgres.test_distributed_isolation import (  # noqa: F401
    attacker,
    neighbours,
    tables,
    test_a_row_cannot_be_moved_to_another_tenant,
    test_a_statement_reads_rows_of_its_tenant_alone_and_leaves_nothing_bound,
    test_a_statement_writes_no_row_of_another_tenant,
    test_a_transaction_sees_rows_of_its_tenant_alone_and_leaves_nothing_bound,
    test_no_row_is_seen_without_a_tenant,
    test_records_of_the_audit_trail_are_neither_changed_nor_deleted,
    test_the_owner_of_the_tables_sees_no_row,
)

needs(__name__, "URL")

test_rows_of_a_twin_stay_as_they_are_beside_turns = test_turns.test_rows_of_a_twin_stay_as_they_are
