"""What is happening now: sessions and the steps they visited."""

from __future__ import annotations

from typing import ClassVar
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
    new_id,
    now,
)


class StepVisit(Model):
    """One visit of a session to a scenario step."""

    step_id: UUID
    step_name: Text | None = None
    entered_at: UtcDatetime
    turn_number: Count
    transition_reason: Text | None = None
    confidence: Fraction = 1.0
    is_checkpoint: bool = False
    checkpoint_description: Text | None = None
    step_content_hash: Identifier | None = None


class PendingMigration(Model):
    """A migration that a session performs at its next turn."""

    target_version: Version
    anchor_content_hash: Identifier
    migration_plan_id: UUID
    marked_at: UtcDatetime


class Session(Model):
    """The state of one conversation. `revision` 0 means never stored."""

    stamps: ClassVar[tuple[str, ...]] = ("revision", "created_at", "last_activity_at")

    session_id: UUID = Field(default_factory=new_id)
    tenant_id: UUID
    agent_id: UUID
    channel: Channel
    user_channel_id: ChannelUserId
    customer_profile_id: UUID | None = None
    config_version: Version = 1
    active_scenario_id: UUID | None = None
    active_step_id: UUID | None = None
    active_scenario_version: Version | None = None
    step_history: list[StepVisit] = Field(default_factory=list)
    relocalization_count: Count = 0
    rule_fires: dict[Identifier, Count] = Field(default_factory=dict)
    rule_last_fire_turn: dict[Identifier, Count] = Field(default_factory=dict)
    variables: dict[Identifier, Json] = Field(default_factory=dict)
    variable_updated_at: dict[Identifier, UtcDatetime] = Field(default_factory=dict)
    turn_count: Count = 0
    status: SessionStatus = SessionStatus.ACTIVE
    pending_migration: PendingMigration | None = None
    scenario_checksum: Identifier | None = None
    created_at: UtcDatetime = Field(default_factory=now)
    last_activity_at: UtcDatetime = Field(default_factory=now)
    revision: Count = 0
