"""What happened: turns, tool calls and events, none of which ever change."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from convostore.models.base import FrozenModel
from convostore.models.fields import Count, Identifier, Json, JsonObject, Text, TypeName, UtcDatetime, new_id, now

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ToolCall(FrozenModel):
    """One call of a tool during a turn. `latency_ms` is in milliseconds."""

    tool_id: Identifier
    tool_name: Identifier
    input: JsonObject
    output: Json
    success: bool
    error: Text | None = None
    latency_ms: Milliseconds


class TurnRecord(FrozenModel):
    """One exchange between a user and an agent. `latency_ms` is in milliseconds."""

    turn_id: UUID = Field(default_factory=new_id)
    tenant_id: UUID
    agent_id: UUID
    session_id: UUID
    customer_profile_id: UUID | None = None
    turn_number: Count
    user_message: Text
    agent_response: Text
    matched_rule_ids: list[UUID] = Field(default_factory=list)
    scenario_id: UUID | None = None
    step_id: UUID | None = None
    tool_calls: list[ToolCall] = Field(default_factory=list)
    template_ids_used: list[UUID] = Field(default_factory=list)
    latency_ms: Milliseconds
    tokens_used: Count
    metadata: JsonObject = Field(default_factory=dict)
    timestamp: UtcDatetime = Field(default_factory=now)


class AuditEvent(FrozenModel):
    """Something worth recording besides a turn."""

    id: UUID = Field(default_factory=new_id)
    tenant_id: UUID
    event_type: TypeName
    event_data: JsonObject
    session_id: UUID | None = None
    turn_id: UUID | None = None
    timestamp: UtcDatetime = Field(default_factory=now)
