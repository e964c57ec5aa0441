"""What is happening now: sessions and the steps they visited."""

from __future__ import annotations

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from convostore.models.base import Model
from convostore.models.enums import Channel, SessionStatus
from convostore.models.fields import (
    ChannelUserId,
    Count,
    Fraction,
    Identifier,
    Json,
    Text,
    UtcDatetime,
    Version,
    named_keys,
    new_id,
    now,
)


class StepVisit(Model):
    """One visit of a session to a scenario step."""

    step_id: UUID
    """Visited step; not checked to exist."""
    step_name: Text | None = None
    """Name of the step, at most 1 MiB, compared by `ScopeFilter`; None if unknown."""
    entered_at: UtcDatetime
    """Time of entry (UTC), set by the caller."""
    turn_number: Count
    """Turn in which the session entered the step, 0 or more."""
    transition_reason: Text | None = None
    """Why the session entered the step, for people, at most 1 MiB; None if not given."""
    confidence: Fraction = 1.0
    """Confidence in the transition, 0 to 1."""
    is_checkpoint: bool = False
    """Whether the step is irreversible, as in `ScenarioStep`."""
    checkpoint_description: Text | None = None
    """What the checkpoint completed, for people, at most 1 MiB; None if not given."""
    step_content_hash: Identifier | None = None
    """Content hash of the step, computed by the caller, 1 to 200 characters; step searches compare the last one."""


class PendingMigration(Model):
    """A migration to another version of its scenario that a session performs at its next turn."""

    target_version: Version
    """Version of the scenario to migrate to, 1 or more."""
    anchor_content_hash: Identifier
    """Content hash of the anchor to migrate by, 1 to 200 characters, as in `AnchorTransformation`."""
    migration_plan_id: UUID
    """Migration plan to follow; not checked to exist."""
    marked_at: UtcDatetime
    """Time at which the session was marked (UTC), set by the caller."""


class Session(Model):
    """The state of one conversation."""

    store_managed: ClassVar[tuple[str, ...]] = ("revision", "created_at", "last_activity_at")

    session_id: UUID = Field(default_factory=new_id)
    """Primary key, unique across tenants; a UUID of version 7 if omitted."""
    tenant_id: UUID
    """Tenant that owns the session; no other tenant can read or change it."""
    agent_id: UUID
    """Agent that leads the conversation; not checked to exist."""
    channel: Channel
    """Channel of the conversation; channel and `user_channel_id` together are the channel identity."""
    user_channel_id: ChannelUserId
    """Identifier of the user on the channel, 1 to 512 characters."""
    customer_profile_id: UUID | None = None
    """Profile of the customer, not checked to exist; None while unknown."""
    config_version: Version = 1
    """Version of the agent's configuration that the session uses, 1 or more, set by the caller."""
    active_scenario_id: UUID | None = None
    """Scenario in progress, not checked to exist; None outside scenarios."""
    active_step_id: UUID | None = None
    """Step in progress; None outside scenarios. Step searches compare the last visit in `step_history` instead."""
    active_scenario_version: Version | None = None
    """Version of the scenario in progress, 1 or more; None outside scenarios."""
    step_history: list[StepVisit] = Field(default_factory=list)
    """Visits, oldest first; the session stands at the last one."""
    relocalization_count: Count = 0
    """How often the current step had to be determined anew, 0 or more, counted by the caller."""
    rule_fires: Annotated[dict[Identifier, Count], named_keys] = Field(default_factory=dict)
    """How often each rule fired in the session, 0 or more, by rule id; counted by the caller."""
    rule_last_fire_turn: Annotated[dict[Identifier, Count], named_keys] = Field(default_factory=dict)
    """Turn in which each rule last fired, 0 or more, by rule id; set by the caller."""
    variables: Annotated[dict[Identifier, Json], named_keys] = Field(default_factory=dict)
    """Values of variables, each at most 1 MiB as JSON, by name."""
    variable_updated_at: Annotated[dict[Identifier, UtcDatetime], named_keys] = Field(default_factory=dict)
    """Time at which each variable was last resolved (UTC), by name; set by the caller."""
    turn_count: Count = 0
    """Turns completed, 0 or more, counted by the caller."""
    status: SessionStatus = SessionStatus.ACTIVE
    """Lifecycle status, set by the caller; step searches find active sessions only."""
    pending_migration: PendingMigration | None = None
    """Migration to perform at the next turn; None if there is none."""
    scenario_checksum: Identifier | None = None
    """Content hash of the scenario in progress, set by the caller, 1 to 200 characters; None if unknown."""
    created_at: UtcDatetime = Field(default_factory=now)
    """Time of the first save (UTC), set by the store."""
    last_activity_at: UtcDatetime = Field(default_factory=now)
    """Time of the latest save (UTC), set by the store; idle time and age count from it."""
    revision: Count = 0
    """Revision for optimistic concurrency: 0 if never stored, incremented by the store on every save."""
