"""Configuration: migration plans, of which one between two versions is in force."""

from __future__ import annotations

from uuid import uuid4

import pytest

from convostore.contracts import ConfigStore
from convostore.errors import ConflictError
from convostore.models import MigrationPlanStatus
from convostore.testing.base import StoreContract
from convostore.testing.factories import make_migration_plan


class MigrationPlanContract(StoreContract):
    """Migration plans."""

    async def test_plans_are_listed_newest_first_and_filtered(self, store: ConfigStore) -> None:
        tenant, scenario = uuid4(), uuid4()
        plans = [
            make_migration_plan(tenant, scenario_id=scenario),
            make_migration_plan(tenant, scenario_id=scenario, from_version=2, to_version=3, status="rejected"),
            make_migration_plan(tenant),
        ]
        for plan in plans:
            await store.save_migration_plan(plan)
        assert await store.list_migration_plans(tenant) == plans[::-1]
        assert await store.list_migration_plans(tenant, scenario_id=scenario) == [plans[1], plans[0]]
        assert await store.list_migration_plans(tenant, status=MigrationPlanStatus.REJECTED) == [plans[1]]
        assert await store.list_migration_plans(tenant, limit=1, offset=1) == [plans[1]]

    async def test_one_plan_between_two_versions_is_in_force(self, store: ConfigStore) -> None:
        tenant, scenario = uuid4(), uuid4()
        rejected = make_migration_plan(tenant, scenario_id=scenario, status="rejected")
        pending = make_migration_plan(tenant, scenario_id=scenario)
        superseded = make_migration_plan(tenant, scenario_id=scenario, status="superseded")
        find = store.get_migration_plan_for_versions
        assert await find(tenant, scenario, 1, 2) is None
        await store.save_migration_plan(rejected)
        assert await find(tenant, scenario, 1, 2) == rejected
        await store.save_migration_plan(pending)
        await store.save_migration_plan(superseded)
        assert await find(tenant, scenario, 1, 2) == pending
        assert await find(tenant, scenario, 2, 3) is None
        superseded.status = MigrationPlanStatus.DEPLOYED
        with pytest.raises(ConflictError) as caught:
            await store.save_migration_plan(superseded)
        assert caught.value.code == "migration_plan_scenario_id_from_version_to_version_key"
        await store.delete_migration_plan(tenant, pending.id)
        await store.save_migration_plan(superseded)
        assert await find(tenant, scenario, 1, 2) == superseded
