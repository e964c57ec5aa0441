"""What an agent is: agents, rules, scenarios, templates, variables and tool activations."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from convostore.models.base import FrozenModel, Model
from convostore.models.enums import Scope, TemplateMode, VariableUpdatePolicy
from convostore.models.fields import (
    Count,
    Identifier,
    JsonObject,
    Key,
    Name,
    Text,
    UtcDatetime,
    Vector,
    Version,
    new_id,
    now,
)


class ConfigEntity(Model):
    """What every configuration entity has. `revision` 0 means never stored."""

    stamps: ClassVar[tuple[str, ...]] = ("revision", "created_at", "updated_at", "deleted_at")

    id: UUID = Field(default_factory=new_id)
    tenant_id: UUID
    created_at: UtcDatetime = Field(default_factory=now)
    updated_at: UtcDatetime = Field(default_factory=now)
    deleted_at: UtcDatetime | None = None
    revision: Count = 0


class AgentSettings(Model):
    """How an agent's language model is called."""

    model: Identifier | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.7
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] = 1024


class Agent(ConfigEntity):
    """A conversational agent of a tenant."""

    name: Name
    description: Text | None = None
    system_prompt: Text | None = None
    enabled: bool = True
    current_version: Version = 1
    settings: AgentSettings = Field(default_factory=AgentSettings)
    metadata: JsonObject = Field(default_factory=dict)


class Scoped(Model):
    """Applies everywhere, or within the scenario or step that `scope_id` names."""

    scope: Scope = Scope.GLOBAL
    scope_id: UUID | None = None

    @model_validator(mode="after")
    def _names_its_scope(self) -> Self:
        if self.scope is not Scope.GLOBAL and self.scope_id is None:
            raise ValueError("scope_id is required unless the scope is global")
        return self


class Rule(ConfigEntity, Scoped):
    """When a condition holds, an action follows."""

    agent_id: UUID
    name: Name
    description: Text | None = None
    condition_text: Text
    action_text: Text
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    enabled: bool = True
    max_fires_per_session: Count = 0
    cooldown_turns: Count = 0
    is_hard_constraint: bool = False
    attached_tool_ids: list[Identifier] = Field(default_factory=list)
    attached_template_ids: list[UUID] = Field(default_factory=list)
    embedding: Vector | None = None
    embedding_model: Identifier | None = None


class StepTransition(Model):
    """An edge of a scenario, taken when its condition holds."""

    to_step_id: UUID
    condition_text: Text
    condition_embedding: Vector | None = None
    priority: Annotated[int, Field(ge=-(2**31), lt=2**31)] = 0
    condition_fields: list[Identifier] = Field(default_factory=list)


class ScenarioStep(Model):
    """A node of a scenario."""

    id: UUID = Field(default_factory=new_id)
    scenario_id: UUID
    name: Name
    description: Text | None = None
    transitions: list[StepTransition] = Field(default_factory=list)
    template_ids: list[UUID] = Field(default_factory=list)
    rule_ids: list[UUID] = Field(default_factory=list)
    tool_ids: list[Identifier] = Field(default_factory=list)
    is_entry: bool = False
    is_terminal: bool = False
    can_skip: bool = False
    reachable_from_anywhere: bool = False
    collects_profile_fields: list[Identifier] = Field(default_factory=list)
    performs_action: bool = False
    is_required_action: bool = False
    is_checkpoint: bool = False
    checkpoint_description: Text | None = None


class Scenario(ConfigEntity):
    """A guided conversation: a graph of steps with one entry."""

    agent_id: UUID
    name: Name
    description: Text | None = None
    version: Version = 1
    entry_step_id: UUID
    steps: list[ScenarioStep] = Field(default_factory=list)
    entry_condition_text: Text | None = None
    entry_condition_embedding: Vector | None = None
    embedding_model: Identifier | None = None
    content_hash: Identifier | None = None
    tags: list[Identifier] = Field(default_factory=list)
    enabled: bool = True


class Template(ConfigEntity, Scoped):
    """A prepared response."""

    agent_id: UUID
    name: Name
    text: Text
    mode: TemplateMode = TemplateMode.SUGGEST
    conditions: Text | None = None


class Variable(ConfigEntity):
    """A value that a tool resolves for the conversation."""

    agent_id: UUID
    name: Key
    description: Text | None = None
    resolver_tool_id: Identifier
    update_policy: VariableUpdatePolicy = VariableUpdatePolicy.ON_DEMAND
    cache_ttl_seconds: Count = 0


class ToolActivation(ConfigEntity):
    """Whether an agent may use a tool, and under which policy."""

    agent_id: UUID
    tool_id: Identifier
    status: Literal["enabled", "disabled"] = "enabled"
    policy_override: JsonObject | None = None
    enabled_at: UtcDatetime | None = None
    disabled_at: UtcDatetime | None = None


class AgentConfig(FrozenModel):
    """All that an agent needs for a turn, as it was at one moment."""

    agent: Agent
    rules: list[Rule]
    scenarios: list[Scenario]
    templates: list[Template]
    variables: list[Variable]
    tool_activations: list[ToolActivation]
