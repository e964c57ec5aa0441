"""The contract of configuration stores: what particular kinds of entity have of their own."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import ConfigStore
from convostore.errors import ConflictError, ValidationError
from convostore.models import MigrationPlanStatus, Rule, Scope
from convostore.testing.base import StoreContract
from convostore.testing.factories import (
    full_scenario,
    make_agent,
    make_migration_plan,
    make_rule,
    make_scenario,
    make_template,
    make_tool_activation,
    make_variable,
)
from convostore.testing.kinds import CONFIG_KINDS

OWNED = [kind for kind in CONFIG_KINDS if kind.name not in ("agent", "migration_plan")]


async def save_rules(store: ConfigStore, tenant: UUID, agent: UUID, *changes: dict[str, Any]) -> list[Rule]:
    """Save one rule for each set of changes."""
    rules = [make_rule(tenant, agent, **change) for change in changes]
    for rule in rules:
        await store.save_rule(rule)
    return rules


class AgentContract(StoreContract):
    """Agents as a whole."""

    async def test_a_page_of_agents_comes_with_the_total(self, store: ConfigStore) -> None:
        tenant = uuid4()
        for number in range(25):
            await store.save_agent(make_agent(tenant, name=f"agent {number:02}", enabled=number % 5 != 0))
        agents, total = await store.get_agents(tenant)
        assert ([agent.name for agent in agents], total) == ([f"agent {number:02}" for number in range(20)], 25)
        agents, total = await store.get_agents(tenant, limit=3, offset=24)
        assert ([agent.name for agent in agents], total) == (["agent 24"], 25)
        agents, total = await store.get_agents(tenant, enabled_only=True, limit=2, offset=100)
        assert (agents, total) == ([], 20)

    async def test_deleting_an_agent_takes_what_belongs_to_it_and_nothing_else(self, store: ConfigStore) -> None:
        agent, other = make_agent(uuid4()), uuid4()
        await store.save_agent(agent)
        plan = make_migration_plan(agent.tenant_id)
        await store.save_migration_plan(plan)
        for kind in OWNED:
            await kind.save(store, kind.make(agent.tenant_id, agent.id))
            await kind.save(store, kind.make(agent.tenant_id, other))
        assert await store.delete_agent(agent.tenant_id, agent.id) is True
        for kind in OWNED:
            assert await kind.list(store, agent.tenant_id, agent.id) == []
            assert len(await kind.list(store, agent.tenant_id, other)) == 1
        assert await store.get_migration_plan(agent.tenant_id, plan.id) == plan

    async def test_restoring_an_agent_brings_back_exactly_what_went_with_it(self, store: ConfigStore) -> None:
        agent = make_agent(uuid4())
        await store.save_agent(agent)
        kept: dict[str, list[Any]] = {}
        for kind in OWNED:
            keep, drop = kind.make(agent.tenant_id, agent.id), kind.make(agent.tenant_id, agent.id)
            await kind.save(store, keep)
            await kind.save(store, drop)
            await kind.delete(store, drop)
            kept[kind.name] = [keep]
        await store.delete_agent(agent.tenant_id, agent.id)
        assert await store.restore_agent(agent.tenant_id, agent.id) is True
        assert await store.get_agent(agent.tenant_id, agent.id) == agent
        for kind in OWNED:
            assert await kind.list(store, agent.tenant_id, agent.id) == kept[kind.name]

    async def test_restoring_an_agent_whose_name_is_in_use_restores_nothing(self, store: ConfigStore) -> None:
        agent = make_agent(uuid4())
        await store.save_agent(agent)
        await save_rules(store, agent.tenant_id, agent.id, {})
        await store.delete_agent(agent.tenant_id, agent.id)
        await store.save_agent(make_agent(agent.tenant_id, name=agent.name))
        with pytest.raises(ConflictError) as caught:
            await store.restore_agent(agent.tenant_id, agent.id)
        assert caught.value.code == "agent_name_key"
        assert await store.get_rules(agent.tenant_id, agent.id) == []

    async def test_an_agent_need_not_exist_for_its_rules(self, store: ConfigStore) -> None:
        (rule,) = await save_rules(store, uuid4(), uuid4(), {})
        assert await store.get_rule(rule.tenant_id, rule.id) == rule


class RuleContract(StoreContract):
    """Rules and templates: filters and order."""

    async def test_rules_come_by_priority_then_name_then_id(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        b, a2, a1, high, low = await save_rules(
            store,
            tenant,
            agent,
            {"name": "b"},
            {"name": "a", "id": UUID(int=2)},
            {"name": "a", "id": UUID(int=1)},
            {"name": "z", "priority": 100},
            {"name": "a", "priority": -1},
        )
        assert await store.get_rules(tenant, agent) == [high, a1, a2, b, low]

    async def test_rules_are_filtered_by_scope_and_by_being_enabled(self, store: ConfigStore) -> None:
        tenant, agent, here = uuid4(), uuid4(), uuid4()
        everywhere, scenario, other, off = await save_rules(
            store,
            tenant,
            agent,
            {"name": "1"},
            {"name": "2", "scope": Scope.SCENARIO, "scope_id": here},
            {"name": "3", "scope": Scope.SCENARIO, "scope_id": uuid4()},
            {"name": "4", "enabled": False},
        )
        assert await store.get_rules(tenant, agent) == [everywhere, scenario, other]
        assert await store.get_rules(tenant, agent, enabled_only=False) == [everywhere, scenario, other, off]
        assert await store.get_rules(tenant, agent, scope=Scope.SCENARIO) == [scenario, other]
        assert await store.get_rules(tenant, agent, scope=Scope.SCENARIO, scope_id=here) == [scenario]
        assert await store.get_rules(tenant, agent, scope=Scope.STEP) == []
        assert await store.get_rules(tenant, uuid4()) == []

    async def test_templates_are_filtered_by_scope(self, store: ConfigStore) -> None:
        tenant, agent, here = uuid4(), uuid4(), uuid4()
        everywhere = make_template(tenant, agent, name="b")
        step = make_template(tenant, agent, name="a", scope=Scope.STEP, scope_id=here)
        for template in (everywhere, step):
            await store.save_template(template)
        assert await store.get_templates(tenant, agent) == [step, everywhere]
        assert await store.get_templates(tenant, agent, scope=Scope.GLOBAL) == [everywhere]
        assert await store.get_templates(tenant, agent, scope_id=here) == [step]

    async def test_disabled_scenarios_are_listed_on_request(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        on = make_scenario(tenant, agent, name="a")
        off = make_scenario(tenant, agent, name="b", enabled=False)
        for scenario in (on, off):
            await store.save_scenario(scenario)
        assert await store.get_scenarios(tenant, agent) == [on]
        assert await store.get_scenarios(tenant, agent, enabled_only=False) == [on, off]

    async def test_mutated_lists_are_checked_again(self, store: ConfigStore) -> None:
        rule = make_rule(uuid4(), uuid4())
        rule.attached_tool_ids.append(5)  # type: ignore[arg-type]
        with pytest.raises(ValidationError, match="attached_tool_ids"):
            await store.save_rule(rule)
        scenario = full_scenario(uuid4(), uuid4())
        scenario.steps[0].transitions[0].__dict__["condition_text"] = None
        with pytest.raises(ValidationError, match=r"steps.*transitions.*condition_text"):
            await store.save_scenario(scenario)
        assert await store.get_scenario(scenario.tenant_id, scenario.id) is None


class RuleSearchContract(StoreContract):
    """Vector search over rules."""

    async def test_the_nearest_rules_come_first_with_their_cosine(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        far, near, exact = await save_rules(
            store,
            tenant,
            agent,
            {"embedding": [0.0, 1.0]},
            {"embedding": [3.0, 4.0]},
            {"embedding": [2.0, 0.0]},
        )
        found = await store.vector_search_rules([1.0, 0.0], tenant, agent)
        assert found == [(exact, 1.0), (near, 0.6), (far, 0.0)]

    async def test_the_lowest_score_is_inclusive_and_may_be_negative(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        against, near = await save_rules(
            store, tenant, agent, {"embedding": [-1.0, 0.0]}, {"embedding": [0.7, 0.714142842854285]}
        )
        assert await store.vector_search_rules([1.0, 0.0], tenant, agent, min_score=0.7) == [(near, 0.7)]
        assert await store.vector_search_rules([1.0, 0.0], tenant, agent, min_score=0.700001) == []
        found = await store.vector_search_rules([1.0, 0.0], tenant, agent, min_score=-1.0)
        assert found == [(near, 0.7), (against, -1.0)]

    async def test_equal_scores_come_by_id_and_pages_partition(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        rules = await save_rules(
            store, tenant, agent, *({"embedding": [1.0, 1.0], "id": UUID(int=n)} for n in (4, 2, 3, 1))
        )
        expected = [(rule, 1.0) for rule in sorted(rules, key=lambda rule: rule.id)]
        assert await store.vector_search_rules([1.0, 1.0], tenant, agent) == expected
        pages = [await store.vector_search_rules([1.0, 1.0], tenant, agent, limit=3, offset=o) for o in (0, 3)]
        assert pages == [expected[:3], expected[3:]]

    async def test_only_comparable_rules_are_found(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        here, _, _, off, _, model = await save_rules(
            store,
            tenant,
            agent,
            {"embedding": [1.0, 0.0]},
            {"embedding": [1.0, 0.0, 0.0]},
            {},
            {"embedding": [1.0, 0.1], "enabled": False},
            {"embedding": [1.0]},
            {"embedding": [1.0, 1.0], "embedding_model": "m"},
        )
        await save_rules(store, tenant, uuid4(), {"embedding": [1.0, 0.0]})
        await save_rules(store, uuid4(), agent, {"embedding": [1.0, 0.0]})
        (deleted,) = await save_rules(store, tenant, agent, {"embedding": [1.0, 0.0]})
        await store.delete_rule(tenant, deleted.id)
        query = [1.0, 0.0]
        assert [rule for rule, _ in await store.vector_search_rules(query, tenant, agent)] == [here, model]
        found = await store.vector_search_rules(query, tenant, agent, enabled_only=False)
        assert [rule for rule, _ in found] == [here, off, model]
        found = await store.vector_search_rules(query, tenant, agent, embedding_model="m")
        assert [rule for rule, _ in found] == [model]

    async def test_very_short_and_very_long_vectors_have_a_score(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        rules = await save_rules(
            store,
            tenant,
            agent,
            {"embedding": [1e-40, 0.0], "id": UUID(int=1)},
            {"embedding": [3e38, 0.0], "id": UUID(int=2)},
        )
        found = await store.vector_search_rules([1e-30, 0.0], tenant, agent)
        assert found == [(rule, 1.0) for rule in rules]


class OtherConfigContract(StoreContract):
    """Variables, tool activations, migration plans and archives."""

    async def test_a_variable_is_found_by_name(self, store: ConfigStore) -> None:
        variable = make_variable(uuid4(), uuid4(), name="order_id")
        await store.save_variable(variable)
        find = store.get_variable_by_name
        assert await find(variable.tenant_id, variable.agent_id, "order_id") == variable
        assert await find(variable.tenant_id, variable.agent_id, "order") is None
        assert await find(variable.tenant_id, uuid4(), "order_id") is None
        assert await find(uuid4(), variable.agent_id, "order_id") is None
        await store.delete_variable(variable.tenant_id, variable.id)
        assert await find(variable.tenant_id, variable.agent_id, "order_id") is None

    async def test_the_tool_activation_deleted_last_is_restored(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        first = make_tool_activation(tenant, agent, tool_id="crm")
        second = make_tool_activation(tenant, agent, tool_id="crm", status="disabled")
        for activation in (first, second):
            await store.save_tool_activation(activation)
            await store.delete_tool_activation(tenant, agent, "crm")
        assert await store.restore_tool_activation(tenant, agent, "crm") is True
        assert await store.get_tool_activation(tenant, agent, "crm") == second
        with pytest.raises(ConflictError) as caught:
            await store.restore_tool_activation(tenant, agent, "crm")
        assert caught.value.code == "tool_activation_agent_id_tool_id_key"

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

    async def test_archiving_again_does_nothing_and_other_content_is_refused(self, store: ConfigStore) -> None:
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
