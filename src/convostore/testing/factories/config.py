"""Agents and what belongs to them to test with."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from convostore.models import (
    Agent,
    AgentSettings,
    Rule,
    Scenario,
    ScenarioStep,
    Scope,
    StepTransition,
    Template,
    TemplateMode,
    ToolActivation,
    Variable,
    VariableUpdatePolicy,
)
from convostore.testing.factories.values import JSON, TEXT, at


def make_agent(tenant_id: UUID, **changes: Any) -> Agent:
    return Agent(**{"tenant_id": tenant_id, "name": f"agent {uuid4()}", **changes})


def make_rule(tenant_id: UUID, agent_id: UUID, **changes: Any) -> Rule:
    values = {"name": "rule", "condition_text": "the customer is angry", "action_text": "apologise"}
    return Rule(**{"tenant_id": tenant_id, "agent_id": agent_id, **values, **changes})


def make_scenario(tenant_id: UUID, agent_id: UUID, **changes: Any) -> Scenario:
    values = {"name": "scenario", "entry_step_id": uuid4()}
    return Scenario(**{"tenant_id": tenant_id, "agent_id": agent_id, **values, **changes})


def make_template(tenant_id: UUID, agent_id: UUID, **changes: Any) -> Template:
    return Template(**{"tenant_id": tenant_id, "agent_id": agent_id, "name": "template", "text": "Hello!", **changes})


def make_variable(tenant_id: UUID, agent_id: UUID, **changes: Any) -> Variable:
    values = {"name": f"v_{uuid4().hex}", "resolver_tool_id": "crm"}
    return Variable(**{"tenant_id": tenant_id, "agent_id": agent_id, **values, **changes})


def make_tool_activation(tenant_id: UUID, agent_id: UUID, **changes: Any) -> ToolActivation:
    return ToolActivation(**{"tenant_id": tenant_id, "agent_id": agent_id, "tool_id": f"tool {uuid4()}", **changes})


def full_agent(tenant_id: UUID) -> Agent:
    settings = AgentSettings(model="large", temperature=1.25, max_tokens=77)
    return make_agent(
        tenant_id,
        description=TEXT,
        system_prompt="Be kind. " * 100,
        enabled=False,
        current_version=7,
        settings=settings,
        metadata=JSON,
    )


def full_rule(tenant_id: UUID, agent_id: UUID) -> Rule:
    return make_rule(
        tenant_id,
        agent_id,
        name="ünïcode 规则"[:100],
        description=TEXT,
        scope=Scope.STEP,
        scope_id=uuid4(),
        priority=-100,
        enabled=False,
        max_fires_per_session=3,
        cooldown_turns=2,
        is_hard_constraint=True,
        attached_tool_ids=["one", TEXT],
        attached_template_ids=[uuid4(), uuid4()],
        embedding=[0.1, -0.2, 1e-30],
        embedding_model="tiny-3",
    )


def full_scenario(tenant_id: UUID, agent_id: UUID) -> Scenario:
    scenario_id, first, last = uuid4(), uuid4(), uuid4()
    onward = StepTransition(
        to_step_id=last,
        condition_text=TEXT,
        condition_embedding=[1.5, -2.25],
        priority=-5,
        condition_fields=["email", "order_id"],
    )
    steps = [
        ScenarioStep(
            id=first,
            scenario_id=scenario_id,
            name="first",
            description=TEXT,
            transitions=[onward],
            template_ids=[uuid4()],
            rule_ids=[uuid4()],
            tool_ids=["lookup"],
            is_entry=True,
            can_skip=True,
            reachable_from_anywhere=True,
            collects_profile_fields=["email"],
            performs_action=True,
            is_required_action=True,
            is_checkpoint=True,
            checkpoint_description="paid",
        ),
        ScenarioStep(id=last, scenario_id=scenario_id, name="last", is_terminal=True),
    ]
    return make_scenario(
        tenant_id,
        agent_id,
        id=scenario_id,
        description=TEXT,
        version=3,
        entry_step_id=first,
        steps=steps,
        entry_condition_text="wants a refund",
        entry_condition_embedding=[0.5] * 8,
        embedding_model="tiny-8",
        content_hash="abc",
        tags=["refund", TEXT],
        enabled=False,
    )


def full_template(tenant_id: UUID, agent_id: UUID) -> Template:
    return make_template(
        tenant_id,
        agent_id,
        text=TEXT,
        mode=TemplateMode.EXCLUSIVE,
        scope=Scope.SCENARIO,
        scope_id=uuid4(),
        conditions="if {x} > 1",
    )


def full_variable(tenant_id: UUID, agent_id: UUID) -> Variable:
    policy = VariableUpdatePolicy.ON_SCENARIO_ENTRY
    return make_variable(
        tenant_id, agent_id, name="_order_2", description=TEXT, update_policy=policy, cache_ttl_seconds=60
    )


def full_tool_activation(tenant_id: UUID, agent_id: UUID) -> ToolActivation:
    return make_tool_activation(
        tenant_id, agent_id, status="disabled", policy_override=JSON, enabled_at=at(1), disabled_at=at(2)
    )
