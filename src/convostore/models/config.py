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
    """The fields of every configuration record."""

    store_managed: ClassVar[tuple[str, ...]] = ("revision", "created_at", "updated_at", "deleted_at")

    id: UUID = Field(default_factory=new_id)
    """Primary key within the tenant; a UUID of version 7 if omitted."""
    tenant_id: UUID
    """Tenant that owns the record; no other tenant can read or change it."""
    created_at: UtcDatetime = Field(default_factory=now)
    """Time of the first save (UTC), set by the store."""
    updated_at: UtcDatetime = Field(default_factory=now)
    """Time of the latest save (UTC), set by the store."""
    deleted_at: UtcDatetime | None = None
    """Time of the soft delete (UTC), set by the store; None in everything that a store returns."""
    revision: Count = 0
    """Revision for optimistic concurrency: 0 if never stored, incremented by the store on every save."""


class AgentSettings(Model):
    """Parameters of an agent's language model, applied by the caller."""

    model: Identifier | None = None
    """Identifier of the language model, 1 to 200 characters; None leaves the choice to the caller."""
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.7
    """Sampling temperature, 0 to 2; lower values make responses more deterministic."""
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] = 1024
    """Upper bound on the tokens of one response, 1 to 2,147,483,647."""


class Agent(ConfigEntity):
    """A conversational agent of a tenant, the owner of rules, scenarios, templates, variables and tool activations."""

    name: Name
    """Display name, unique among the tenant's living agents; 1 to 100 characters."""
    description: Text | None = None
    """Purpose of the agent, for people, at most 1 MiB; None if not given."""
    system_prompt: Text | None = None
    """Instructions that precede every conversation, at most 1 MiB; None for no system prompt."""
    enabled: bool = True
    """Whether the agent takes conversations; `get_agents(enabled_only=True)` leaves out those that do not."""
    current_version: Version = 1
    """Version of the configuration in use, 1 or more, set by the caller; sessions hold theirs as `config_version`."""
    settings: AgentSettings = Field(default_factory=AgentSettings)
    """Parameters of the agent's language model."""
    metadata: JsonObject = Field(default_factory=dict)
    """JSON object of the caller, at most 1 MiB, which no store interprets."""


class Scoped(Model):
    """Applies to the whole agent, or only within the scenario or step that `scope_id` names."""

    scope: Scope = Scope.GLOBAL
    """Where the record applies: the whole agent, one scenario or one step."""
    scope_id: UUID | None = None
    """Scenario or step of the scope, not checked to exist; None is valid for the global scope alone."""

    @model_validator(mode="after")
    def _names_its_scope(self) -> Self:
        if self.scope is not Scope.GLOBAL and self.scope_id is None:
            raise ValueError("scope_id is required unless the scope is global")
        return self


class Rule(ConfigEntity, Scoped):
    """A behavioural rule: when its condition holds, its action follows."""

    agent_id: UUID
    """Agent that owns the rule, not checked to exist; deleting the agent deletes the rule."""
    name: Name
    """Display name, not necessarily unique; 1 to 100 characters."""
    description: Text | None = None
    """Purpose of the rule, for people, at most 1 MiB; None if not given."""
    condition_text: Text
    """When the rule applies, in natural language; at most 1 MiB."""
    action_text: Text
    """What the agent does when the rule applies, in natural language; at most 1 MiB."""
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    """Precedence among the rules that apply, -100 to 100, highest first; lists have the same order."""
    enabled: bool = True
    """Whether the rule is in force; lists, searches and agent configurations leave out disabled rules by default."""
    max_fires_per_session: Count = 0
    """How often the rule may fire in one session, enforced by the caller; 0 for no limit."""
    cooldown_turns: Count = 0
    """Turns that must pass before the rule may fire again, 0 or more, enforced by the caller."""
    is_hard_constraint: bool = False
    """Whether a response that violates the rule must not be sent, enforced by the caller."""
    attached_tool_ids: list[Identifier] = Field(default_factory=list)
    """Tools that the action calls, each 1 to 200 characters; not checked to exist."""
    attached_template_ids: list[UUID] = Field(default_factory=list)
    """Templates that the action responds with; not checked to exist."""
    embedding: Vector | None = None
    """Embedding, 1 to 4,000 float32 numbers; None keeps the rule out of vector search."""
    embedding_model: Identifier | None = None
    """Model that produced the embedding, 1 to 200 characters; None if unknown."""


class StepTransition(Model):
    """A directed edge between two steps of a scenario, taken when its condition holds."""

    to_step_id: UUID
    """Step that the transition leads to; not checked to exist."""
    condition_text: Text
    """When the transition is taken, in natural language; at most 1 MiB."""
    condition_embedding: Vector | None = None
    """Embedding of the condition, 1 to 4,000 float32 numbers, compared by the caller; None if there is none."""
    priority: Annotated[int, Field(ge=-(2**31), lt=2**31)] = 0
    """Precedence among the transitions whose conditions hold, -2,147,483,648 to 2,147,483,647, highest first."""
    condition_fields: list[Identifier] = Field(default_factory=list)
    """Names of the profile fields that the condition depends on, each 1 to 200 characters."""


class ScenarioStep(Model):
    """A node of a scenario's graph."""

    id: UUID = Field(default_factory=new_id)
    """Identifier of the step; a UUID of version 7 if omitted."""
    scenario_id: UUID
    """Scenario that the step belongs to; not compared with the scenario that holds it."""
    name: Name
    """Display name, 1 to 100 characters, which visits keep as `step_name`."""
    description: Text | None = None
    """Purpose of the step, for people, at most 1 MiB; None if not given."""
    transitions: list[StepTransition] = Field(default_factory=list)
    """Outgoing edges of the step."""
    template_ids: list[UUID] = Field(default_factory=list)
    """Templates for responses at the step; not checked to exist."""
    rule_ids: list[UUID] = Field(default_factory=list)
    """Rules that apply at the step; not checked to exist."""
    tool_ids: list[Identifier] = Field(default_factory=list)
    """Tools available at the step, each 1 to 200 characters; not checked to exist."""
    is_entry: bool = False
    """Whether the scenario may start at the step; `Scenario.entry_step_id` names the default one."""
    is_terminal: bool = False
    """Whether the scenario ends at the step."""
    can_skip: bool = False
    """Whether the conversation may pass over the step."""
    reachable_from_anywhere: bool = False
    """Whether the conversation may enter the step from any other, without a transition."""
    collects_profile_fields: list[Identifier] = Field(default_factory=list)
    """Names of the profile fields that the step collects, each 1 to 200 characters."""
    performs_action: bool = False
    """Whether the step has side effects outside the conversation."""
    is_required_action: bool = False
    """Whether the conversation may not go on before the action was performed."""
    is_checkpoint: bool = False
    """Whether the step is irreversible: a session that passed it must not be moved back before it."""
    checkpoint_description: Text | None = None
    """What the checkpoint completes, for people, at most 1 MiB; None if not given."""


class Scenario(ConfigEntity):
    """A guided conversation: a graph of steps with one entry."""

    agent_id: UUID
    """Agent that owns the scenario, not checked to exist; deleting the agent deletes the scenario."""
    name: Name
    """Display name, not necessarily unique; 1 to 100 characters. Lists are ordered by it."""
    description: Text | None = None
    """Purpose of the scenario, for people, at most 1 MiB; None if not given."""
    version: Version = 1
    """Version of the content, 1 or more, set by the caller; archives and migration plans refer to it."""
    entry_step_id: UUID
    """Step at which the scenario starts; not checked to be one of `steps`."""
    steps: list[ScenarioStep] = Field(default_factory=list)
    """Nodes of the graph, in the order given."""
    entry_condition_text: Text | None = None
    """When the scenario starts, in natural language, at most 1 MiB; None if it never starts by itself."""
    entry_condition_embedding: Vector | None = None
    """Embedding of the entry condition, 1 to 4,000 float32 numbers, compared by the caller; None if there is none."""
    embedding_model: Identifier | None = None
    """Model that produced the embeddings of the scenario, 1 to 200 characters; None if unknown."""
    content_hash: Identifier | None = None
    """Hash of the content, computed by the caller, 1 to 200 characters; None if there is none."""
    tags: list[Identifier] = Field(default_factory=list)
    """Labels for the caller, each 1 to 200 characters."""
    enabled: bool = True
    """Whether the scenario may start; lists and agent configurations leave out disabled ones by default."""


class Template(ConfigEntity, Scoped):
    """A prepared response."""

    agent_id: UUID
    """Agent that owns the template, not checked to exist; deleting the agent deletes the template."""
    name: Name
    """Display name, not necessarily unique; 1 to 100 characters. Lists are ordered by it."""
    text: Text
    """Text of the response, whose placeholders the caller fills; at most 1 MiB."""
    mode: TemplateMode = TemplateMode.SUGGEST
    """How strictly the response follows the template."""
    conditions: Text | None = None
    """When the template may be used, in the caller's notation, at most 1 MiB; None for always."""


class Variable(ConfigEntity):
    """A value that a tool resolves for the conversation."""

    agent_id: UUID
    """Agent that owns the variable, not checked to exist; deleting the agent deletes the variable."""
    name: Key
    """Name in code, unique among the agent's living variables; at most 50 of a-z, 0-9 and _, not starting with 0-9."""
    description: Text | None = None
    """Purpose of the variable, for people, at most 1 MiB; None if not given."""
    resolver_tool_id: Identifier
    """Tool that resolves the value, 1 to 200 characters; not checked to exist."""
    update_policy: VariableUpdatePolicy = VariableUpdatePolicy.ON_DEMAND
    """When the caller resolves the value again."""
    cache_ttl_seconds: Count = 0
    """How long the caller may reuse a resolved value, in seconds; 0 for not at all."""


class ToolActivation(ConfigEntity):
    """Whether an agent may use a tool, and under which policy."""

    agent_id: UUID
    """Agent that owns the activation, not checked to exist; deleting the agent deletes the activation."""
    tool_id: Identifier
    """Tool, unique among the agent's living activations; 1 to 200 characters."""
    status: Literal["enabled", "disabled"] = "enabled"
    """Whether the agent may call the tool; lists and agent configurations hold both."""
    policy_override: JsonObject | None = None
    """Policy for this agent, a JSON object of at most 1 MiB; None keeps the policy of the tool."""
    enabled_at: UtcDatetime | None = None
    """Time at which the tool was enabled (UTC), set by the caller; None if unknown."""
    disabled_at: UtcDatetime | None = None
    """Time at which the tool was disabled (UTC), set by the caller; None if unknown."""


class AgentConfig(FrozenModel):
    """All that an agent needs for a turn: a consistent snapshot."""

    agent: Agent
    """The agent itself, enabled or not."""
    rules: list[Rule]
    """Enabled rules, by priority, highest first, then name."""
    scenarios: list[Scenario]
    """Enabled scenarios with their steps, by name."""
    templates: list[Template]
    """All templates of the agent, by name."""
    variables: list[Variable]
    """All variables of the agent, by name."""
    tool_activations: list[ToolActivation]
    """All tool activations of the agent, enabled or disabled, by `tool_id`."""
