"""The scenarios of the configuration store's contract, and the migration plans between their versions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated
from uuid import UUID

from pydantic import Field

from convostore.call.effects import idempotent, non_idempotent
from convostore.call.paging import paginate
from convostore.call.store import Store
from convostore.call.validation import Limit, Offset, VersionNumber
from convostore.models.config import Scenario
from convostore.models.enums import MigrationPlanStatus
from convostore.models.migration import MigrationPlan

_MANY = Field(max_length=1_000)


class Scenarios(Store):
    """Scenarios, their archive and migration plans, which are part of `ConfigStore`."""

    kind = "config"

    @abstractmethod
    async def get_scenario(self, tenant_id: UUID, scenario_id: UUID) -> Scenario | None:
        """Return a scenario, or None."""

    @abstractmethod
    async def get_scenarios(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        enabled_only: bool = True,
        limit: Limit | None = None,
        offset: Offset = 0,
        after: Scenario | None = None,
    ) -> list[Scenario]:
        """Return an agent's scenarios, ordered by name; empty if there are none.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            enabled_only: leave out disabled ones.
            limit: the maximum number of results, 1 to 1,000; None means all.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_scenarios(self, tenant_id: UUID, agent_id: UUID, *, enabled_only: bool = True) -> AsyncIterator[Scenario]:
        """Yield all of an agent's scenarios in the order of `get_scenarios`, with its filter."""
        return paginate(partial(self.get_scenarios, tenant_id, agent_id, enabled_only=enabled_only))

    @abstractmethod
    @idempotent
    async def save_scenario(self, scenario: Scenario, *, overwrite: bool = False) -> UUID:
        """Upsert a scenario, a compare-and-set on its revision, and return its id."""

    @abstractmethod
    @idempotent
    async def save_scenarios(
        self, scenarios: Annotated[list[Scenario], _MANY], *, overwrite: bool = False
    ) -> list[UUID]:
        """Upsert scenarios of one tenant, all or none, and return their ids in the order given."""

    @abstractmethod
    @non_idempotent
    async def delete_scenario(self, tenant_id: UUID, scenario_id: UUID) -> bool:
        """Delete a scenario softly; return whether it existed."""

    @abstractmethod
    @non_idempotent
    async def restore_scenario(self, tenant_id: UUID, scenario_id: UUID) -> bool:
        """Restore a deleted scenario; return whether there was one."""

    @abstractmethod
    @idempotent
    async def archive_scenario_version(self, tenant_id: UUID, scenario: Scenario) -> None:
        """Archive a version of a scenario, immutably. Archiving the same content again is a no-op.

        Raises:
            ConflictError: the version was archived with other content.
        """

    @abstractmethod
    async def get_archived_scenario(
        self, tenant_id: UUID, scenario_id: UUID, version: VersionNumber
    ) -> Scenario | None:
        """Return an archived version of a scenario as it was archived, or None."""

    @abstractmethod
    async def get_migration_plan(self, tenant_id: UUID, plan_id: UUID) -> MigrationPlan | None:
        """Return a migration plan, or None."""

    @abstractmethod
    @idempotent
    async def save_migration_plan(self, plan: MigrationPlan, *, overwrite: bool = False) -> UUID:
        """Upsert a migration plan, a compare-and-set on its revision, and return its id."""

    @abstractmethod
    @idempotent
    async def save_migration_plans(
        self, plans: Annotated[list[MigrationPlan], _MANY], *, overwrite: bool = False
    ) -> list[UUID]:
        """Upsert migration plans of one tenant, all or none, and return their ids in the order given."""

    @abstractmethod
    @non_idempotent
    async def delete_migration_plan(self, tenant_id: UUID, plan_id: UUID) -> bool:
        """Delete a migration plan softly; return whether it existed."""

    @abstractmethod
    @non_idempotent
    async def restore_migration_plan(self, tenant_id: UUID, plan_id: UUID) -> bool:
        """Restore a deleted migration plan; return whether there was one."""

    @abstractmethod
    async def get_migration_plan_for_versions(
        self, tenant_id: UUID, scenario_id: UUID, from_version: VersionNumber, to_version: VersionNumber
    ) -> MigrationPlan | None:
        """Return the plan in force between two versions (pending, approved or deployed), else the newest, or None."""

    @abstractmethod
    async def list_migration_plans(
        self,
        tenant_id: UUID,
        *,
        scenario_id: UUID | None = None,
        status: MigrationPlanStatus | None = None,
        limit: Limit = 50,
        offset: Offset = 0,
        after: MigrationPlan | None = None,
    ) -> list[MigrationPlan]:
        """Return a tenant's migration plans, newest first; empty if there are none.

        Args:
            tenant_id: the tenant.
            scenario_id: only plans for this scenario.
            status: only plans with this status.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_migration_plans(
        self, tenant_id: UUID, *, scenario_id: UUID | None = None, status: MigrationPlanStatus | None = None
    ) -> AsyncIterator[MigrationPlan]:
        """Yield all of a tenant's migration plans, newest first, with the filters of `list_migration_plans`."""
        return paginate(partial(self.list_migration_plans, tenant_id, scenario_id=scenario_id, status=status))
