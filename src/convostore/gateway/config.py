"""The configuration store above the waist."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from convostore.contracts.config import ConfigStore
from convostore.domain.declarations import (
    AGENT,
    CONFIG,
    MIGRATION_PLAN,
    RULE,
    SCENARIO,
    SCENARIO_ARCHIVE,
    TEMPLATE,
    TOOL_ACTIVATION,
    VARIABLE,
    Declaration,
    in_force,
)
from convostore.gateway.table import Table
from convostore.models import (
    Agent,
    MigrationPlan,
    MigrationPlanStatus,
    Rule,
    Scenario,
    Scope,
    Template,
    ToolActivation,
    Variable,
)
from convostore.models.base import Model

M = TypeVar("M", bound=Model)


class TableConfigStore(ConfigStore):
    """Everything but vector search and what happens to an agent as a whole."""

    @abstractmethod
    def _table(self, declaration: Declaration[M]) -> Table[M]:
        """Return the table of an entity."""

    async def get_agent(self, tenant_id: UUID, agent_id: UUID) -> Agent | None:
        return await self._table(AGENT).get(tenant_id, id=agent_id)

    async def get_agents(
        self,
        tenant_id: UUID,
        *,
        enabled_only: bool = False,
        limit: int = 20,
        offset: int = 0,
        after: Agent | None = None,
    ) -> tuple[list[Agent], int]:
        agents, where = self._table(AGENT), {"enabled": enabled_only or None}
        return await agents.find(tenant_id, where, limit=limit, offset=offset, after=after), await agents.count(
            tenant_id, where
        )

    async def save_agent(self, agent: Agent, *, overwrite: bool = False) -> UUID:
        await self._table(AGENT).save(agent, overwrite=overwrite)
        return agent.id

    async def save_agents(self, agents: list[Agent], *, overwrite: bool = False) -> list[UUID]:
        await self._table(AGENT).save_all(agents, overwrite=overwrite)
        return [agent.id for agent in agents]

    async def get_rule(self, tenant_id: UUID, rule_id: UUID) -> Rule | None:
        return await self._table(RULE).get(tenant_id, id=rule_id)

    async def get_rules(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        scope: Scope | None = None,
        scope_id: UUID | None = None,
        enabled_only: bool = True,
        limit: int | None = None,
        offset: int = 0,
        after: Rule | None = None,
    ) -> list[Rule]:
        where = {"agent_id": agent_id, "scope": scope, "scope_id": scope_id, "enabled": enabled_only or None}
        return await self._table(RULE).find(tenant_id, where, limit=limit, offset=offset, after=after)

    async def save_rule(self, rule: Rule, *, overwrite: bool = False) -> UUID:
        await self._table(RULE).save(rule, overwrite=overwrite)
        return rule.id

    async def save_rules(self, rules: list[Rule], *, overwrite: bool = False) -> list[UUID]:
        await self._table(RULE).save_all(rules, overwrite=overwrite)
        return [rule.id for rule in rules]

    async def delete_rule(self, tenant_id: UUID, rule_id: UUID) -> bool:
        return await self._table(RULE).delete(tenant_id, id=rule_id)

    async def restore_rule(self, tenant_id: UUID, rule_id: UUID) -> bool:
        return await self._table(RULE).restore(tenant_id, id=rule_id)

    async def get_scenario(self, tenant_id: UUID, scenario_id: UUID) -> Scenario | None:
        return await self._table(SCENARIO).get(tenant_id, id=scenario_id)

    async def get_scenarios(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        enabled_only: bool = True,
        limit: int | None = None,
        offset: int = 0,
        after: Scenario | None = None,
    ) -> list[Scenario]:
        where = {"agent_id": agent_id, "enabled": enabled_only or None}
        return await self._table(SCENARIO).find(tenant_id, where, limit=limit, offset=offset, after=after)

    async def save_scenario(self, scenario: Scenario, *, overwrite: bool = False) -> UUID:
        await self._table(SCENARIO).save(scenario, overwrite=overwrite)
        return scenario.id

    async def save_scenarios(self, scenarios: list[Scenario], *, overwrite: bool = False) -> list[UUID]:
        await self._table(SCENARIO).save_all(scenarios, overwrite=overwrite)
        return [scenario.id for scenario in scenarios]

    async def delete_scenario(self, tenant_id: UUID, scenario_id: UUID) -> bool:
        return await self._table(SCENARIO).delete(tenant_id, id=scenario_id)

    async def restore_scenario(self, tenant_id: UUID, scenario_id: UUID) -> bool:
        return await self._table(SCENARIO).restore(tenant_id, id=scenario_id)

    async def archive_scenario_version(self, tenant_id: UUID, scenario: Scenario) -> None:
        await self._table(SCENARIO_ARCHIVE).add(scenario)

    async def get_archived_scenario(self, tenant_id: UUID, scenario_id: UUID, version: int) -> Scenario | None:
        return await self._table(SCENARIO_ARCHIVE).get(tenant_id, id=scenario_id, version=version)

    async def get_template(self, tenant_id: UUID, template_id: UUID) -> Template | None:
        return await self._table(TEMPLATE).get(tenant_id, id=template_id)

    async def get_templates(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        scope: Scope | None = None,
        scope_id: UUID | None = None,
        limit: int | None = None,
        offset: int = 0,
        after: Template | None = None,
    ) -> list[Template]:
        where = {"agent_id": agent_id, "scope": scope, "scope_id": scope_id}
        return await self._table(TEMPLATE).find(tenant_id, where, limit=limit, offset=offset, after=after)

    async def save_template(self, template: Template, *, overwrite: bool = False) -> UUID:
        await self._table(TEMPLATE).save(template, overwrite=overwrite)
        return template.id

    async def save_templates(self, templates: list[Template], *, overwrite: bool = False) -> list[UUID]:
        await self._table(TEMPLATE).save_all(templates, overwrite=overwrite)
        return [template.id for template in templates]

    async def delete_template(self, tenant_id: UUID, template_id: UUID) -> bool:
        return await self._table(TEMPLATE).delete(tenant_id, id=template_id)

    async def restore_template(self, tenant_id: UUID, template_id: UUID) -> bool:
        return await self._table(TEMPLATE).restore(tenant_id, id=template_id)

    async def get_variable(self, tenant_id: UUID, variable_id: UUID) -> Variable | None:
        return await self._table(VARIABLE).get(tenant_id, id=variable_id)

    async def get_variables(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        limit: int | None = None,
        offset: int = 0,
        after: Variable | None = None,
    ) -> list[Variable]:
        return await self._table(VARIABLE).find(
            tenant_id, {"agent_id": agent_id}, limit=limit, offset=offset, after=after
        )

    async def get_variable_by_name(self, tenant_id: UUID, agent_id: UUID, name: str) -> Variable | None:
        return await self._table(VARIABLE).get(tenant_id, agent_id=agent_id, name=name)

    async def save_variable(self, variable: Variable, *, overwrite: bool = False) -> UUID:
        await self._table(VARIABLE).save(variable, overwrite=overwrite)
        return variable.id

    async def save_variables(self, variables: list[Variable], *, overwrite: bool = False) -> list[UUID]:
        await self._table(VARIABLE).save_all(variables, overwrite=overwrite)
        return [variable.id for variable in variables]

    async def delete_variable(self, tenant_id: UUID, variable_id: UUID) -> bool:
        return await self._table(VARIABLE).delete(tenant_id, id=variable_id)

    async def restore_variable(self, tenant_id: UUID, variable_id: UUID) -> bool:
        return await self._table(VARIABLE).restore(tenant_id, id=variable_id)

    async def get_tool_activation(self, tenant_id: UUID, agent_id: UUID, tool_id: str) -> ToolActivation | None:
        return await self._table(TOOL_ACTIVATION).get(tenant_id, agent_id=agent_id, tool_id=tool_id)

    async def get_tool_activations(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        limit: int | None = None,
        offset: int = 0,
        after: ToolActivation | None = None,
    ) -> list[ToolActivation]:
        where = {"agent_id": agent_id}
        return await self._table(TOOL_ACTIVATION).find(tenant_id, where, limit=limit, offset=offset, after=after)

    async def save_tool_activation(self, activation: ToolActivation, *, overwrite: bool = False) -> UUID:
        await self._table(TOOL_ACTIVATION).save(activation, overwrite=overwrite)
        return activation.id

    async def save_tool_activations(self, activations: list[ToolActivation], *, overwrite: bool = False) -> list[UUID]:
        await self._table(TOOL_ACTIVATION).save_all(activations, overwrite=overwrite)
        return [activation.id for activation in activations]

    async def delete_tool_activation(self, tenant_id: UUID, agent_id: UUID, tool_id: str) -> bool:
        return await self._table(TOOL_ACTIVATION).delete(tenant_id, agent_id=agent_id, tool_id=tool_id)

    async def restore_tool_activation(self, tenant_id: UUID, agent_id: UUID, tool_id: str) -> bool:
        return await self._table(TOOL_ACTIVATION).restore(tenant_id, agent_id=agent_id, tool_id=tool_id)

    async def get_migration_plan(self, tenant_id: UUID, plan_id: UUID) -> MigrationPlan | None:
        return await self._table(MIGRATION_PLAN).get(tenant_id, id=plan_id)

    async def get_migration_plan_for_versions(
        self, tenant_id: UUID, scenario_id: UUID, from_version: int, to_version: int
    ) -> MigrationPlan | None:
        where = {"scenario_id": scenario_id, "from_version": from_version, "to_version": to_version}
        plans = await self._table(MIGRATION_PLAN).find(tenant_id, where)
        return next(filter(in_force, plans), plans[0] if plans else None)

    async def list_migration_plans(
        self,
        tenant_id: UUID,
        *,
        scenario_id: UUID | None = None,
        status: MigrationPlanStatus | None = None,
        limit: int = 50,
        offset: int = 0,
        after: MigrationPlan | None = None,
    ) -> list[MigrationPlan]:
        where = {"scenario_id": scenario_id, "status": status}
        return await self._table(MIGRATION_PLAN).find(tenant_id, where, limit=limit, offset=offset, after=after)

    async def save_migration_plan(self, plan: MigrationPlan, *, overwrite: bool = False) -> UUID:
        await self._table(MIGRATION_PLAN).save(plan, overwrite=overwrite)
        return plan.id

    async def save_migration_plans(self, plans: list[MigrationPlan], *, overwrite: bool = False) -> list[UUID]:
        await self._table(MIGRATION_PLAN).save_all(plans, overwrite=overwrite)
        return [plan.id for plan in plans]

    async def delete_migration_plan(self, tenant_id: UUID, plan_id: UUID) -> bool:
        return await self._table(MIGRATION_PLAN).delete(tenant_id, id=plan_id)

    async def restore_migration_plan(self, tenant_id: UUID, plan_id: UUID) -> bool:
        return await self._table(MIGRATION_PLAN).restore(tenant_id, id=plan_id)

    async def purge_deleted(self, tenant_id: UUID, *, before: datetime) -> int:
        tables: list[Table[Any]] = [self._table(declaration) for declaration in CONFIG]
        return sum([await table.purge(tenant_id, before) for table in tables])
