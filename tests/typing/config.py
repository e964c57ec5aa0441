"""The configuration store as its callers see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import assert_type
from uuid import UUID

from convostore.contracts import ConfigStore
from convostore.models import (
    Agent,
    AgentConfig,
    MigrationPlan,
    MigrationPlanStatus,
    Rule,
    Scenario,
    Scope,
    Template,
    ToolActivation,
    Variable,
)
from convostore.postgres import PostgresConfigStore


async def reading(store: ConfigStore, id: UUID) -> None:
    assert_type(await store.get_agent(id, id), Agent | None)
    assert_type(await store.get_agents(id, enabled_only=True), tuple[list[Agent], int])
    assert_type(await store.get_agent_config(id, id, embeddings=False), AgentConfig | None)
    assert_type(await store.get_rule(id, id), Rule | None)
    assert_type(await store.get_rules(id, id, scope=Scope.SCENARIO, scope_id=id, limit=None), list[Rule])
    assert_type(await store.get_scenario(id, id), Scenario | None)
    assert_type(await store.get_scenarios(id, id), list[Scenario])
    assert_type(await store.get_archived_scenario(id, id, 1), Scenario | None)
    assert_type(await store.get_template(id, id), Template | None)
    assert_type(await store.get_templates(id, id), list[Template])
    assert_type(await store.get_variable(id, id), Variable | None)
    assert_type(await store.get_variable_by_name(id, id, "name"), Variable | None)
    assert_type(await store.get_variables(id, id), list[Variable])
    assert_type(await store.get_tool_activation(id, id, "search"), ToolActivation | None)
    assert_type(await store.get_tool_activations(id, id), list[ToolActivation])
    assert_type(await store.get_migration_plan(id, id), MigrationPlan | None)
    assert_type(await store.get_migration_plan_for_versions(id, id, 1, 2), MigrationPlan | None)
    assert_type(await store.list_migration_plans(id, status=MigrationPlanStatus.PENDING), list[MigrationPlan])


async def streaming(store: ConfigStore, id: UUID) -> None:
    assert_type(store.iter_agents(id), AsyncIterator[Agent])
    assert_type(store.iter_rules(id, id), AsyncIterator[Rule])
    assert_type(store.iter_scenarios(id, id), AsyncIterator[Scenario])
    assert_type(store.iter_templates(id, id), AsyncIterator[Template])
    assert_type(store.iter_variables(id, id), AsyncIterator[Variable])
    assert_type(store.iter_tool_activations(id, id), AsyncIterator[ToolActivation])
    assert_type(store.iter_migration_plans(id), AsyncIterator[MigrationPlan])
    async for rule in store.iter_rules(id, id):
        assert_type(rule, Rule)


async def searching(store: ConfigStore, id: UUID) -> None:
    assert_type(await store.vector_search_rules([0.5, 0.5], id, id, min_score=0), list[tuple[Rule, float]])
    assert_type(await store.search_rules("tea", [0.5, 0.5], id, id, limit=5), list[tuple[Rule, float]])


async def saving_one(
    store: ConfigStore,
    agent: Agent,
    rule: Rule,
    scenario: Scenario,
    template: Template,
    variable: Variable,
    activation: ToolActivation,
    plan: MigrationPlan,
) -> None:
    assert_type(await store.save_agent(agent), UUID)
    assert_type(await store.save_rule(rule, overwrite=True), UUID)
    assert_type(await store.save_scenario(scenario), UUID)
    assert_type(await store.save_template(template), UUID)
    assert_type(await store.save_variable(variable), UUID)
    assert_type(await store.save_tool_activation(activation), UUID)
    assert_type(await store.save_migration_plan(plan), UUID)
    assert_type(await store.archive_scenario_version(scenario.tenant_id, scenario), None)


async def saving_several(store: ConfigStore, rules: list[Rule]) -> None:
    assert_type(await store.save_rules(rules), list[UUID])


async def deleting(store: ConfigStore, id: UUID, before: datetime) -> None:
    assert_type(await store.delete_rule(id, id), bool)
    assert_type(await store.restore_rule(id, id), bool)
    assert_type(await store.purge_deleted(id, before=before), int)


async def views_of_a_store(store: ConfigStore, on_postgres: PostgresConfigStore, tenant_id: UUID) -> None:
    assert_type(store.for_tenant(tenant_id), ConfigStore)
    assert_type(on_postgres.for_tenant(tenant_id), PostgresConfigStore)
    assert_type(on_postgres.within(1), PostgresConfigStore)


async def what_is_refused(store: ConfigStore, agent: Agent, rule: Rule) -> None:
    await store.save_rule(agent)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.save_rules([rule, agent])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    await store.get_rule(rule.id)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await store.get_agents(rule.tenant_id, 10)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    await store.get_rules(rule.tenant_id, rule.agent_id, after=agent)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.iter_rules(rule.tenant_id, rule.agent_id)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    print((await store.get_rule(rule.tenant_id, rule.id)).name)  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
