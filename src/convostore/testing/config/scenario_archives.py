"""Configuration: versions of scenarios, archived for ever."""

from __future__ import annotations

from uuid import uuid4

import pytest

from convostore.contracts import ConfigStore
from convostore.errors import ConflictError, ValidationError
from convostore.testing.base import StoreContract
from convostore.testing.factories import full_scenario, make_scenario


class ScenarioArchiveContract(StoreContract):
    """Archived versions of scenarios."""

    async def test_an_archived_version_stays_as_it_was(self, store: ConfigStore) -> None:
        scenario = full_scenario(uuid4(), uuid4())
        await store.save_scenario(scenario)
        await store.archive_scenario_version(scenario.tenant_id, scenario)
        archived = scenario.model_copy(deep=True)
        scenario.version = 4
        await store.save_scenario(scenario)
        await store.delete_scenario(scenario.tenant_id, scenario.id)
        find = store.get_archived_scenario
        assert await find(scenario.tenant_id, scenario.id, 3) == archived
        assert await find(scenario.tenant_id, scenario.id, 4) is None
        assert await find(uuid4(), scenario.id, 3) is None

    async def test_archiving_again_is_a_no_op_and_other_content_a_conflict(self, store: ConfigStore) -> None:
        scenario = make_scenario(uuid4(), uuid4())
        tenant = scenario.tenant_id
        await store.archive_scenario_version(tenant, scenario)
        await store.archive_scenario_version(tenant, scenario)
        changed = scenario.model_copy(update={"tags": ["new"]})
        with pytest.raises(ConflictError) as caught:
            await store.archive_scenario_version(tenant, changed)
        assert caught.value.code == "scenario_archive_pkey"
        assert await store.get_archived_scenario(tenant, scenario.id, 1) == scenario
        with pytest.raises(ValidationError, match="tenant_id"):
            await store.archive_scenario_version(uuid4(), scenario)
