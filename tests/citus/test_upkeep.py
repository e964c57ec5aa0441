"""Upkeep of several tenants on Citus, and every command."""

from __future__ import annotations

from tests.citus.conftest import needs
from tests.cli.test_distributed import (  # noqa: F401
    in_sql,
    sent,
    tenant,
    test_a_command_sends_what_citus_takes,
)
from tests.postgres.test_distributed_form import rules  # noqa: F401
from tests.postgres.test_distributed_upkeep import (  # noqa: F401
    maintenance,
    tenants,
    test_a_purge_removes_what_every_tenant_deleted,
    test_a_sweep_deletes_the_old_sessions_of_every_tenant,
    test_an_operator_sees_every_tenant,
    test_fields_of_every_tenant_expire,
    test_texts_of_every_tenant_are_found_as_they_should_be,
    test_the_functions_of_upkeep_alone_ask_several_shards,
)

needs(__name__, "URL")
