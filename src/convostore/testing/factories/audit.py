"""Turns and events to test with."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from convostore.models import AuditEvent, ToolCall, TurnRecord
from convostore.testing.factories.values import JSON, TEXT, at


def make_turn(tenant_id: UUID, **changes: Any) -> TurnRecord:
    values = {
        "agent_id": uuid4(),
        "session_id": uuid4(),
        "turn_number": 0,
        "user_message": "Hello?",
        "agent_response": "Hello!",
        "latency_ms": 12,
        "tokens_used": 34,
    }
    return TurnRecord(**{"tenant_id": tenant_id, **values, **changes})


def make_event(tenant_id: UUID, **changes: Any) -> AuditEvent:
    return AuditEvent(**{"tenant_id": tenant_id, "event_type": "noted", "event_data": {"what": "this"}, **changes})


def full_turn(tenant_id: UUID) -> TurnRecord:
    call = ToolCall(
        tool_id="crm", tool_name="CRM", input=JSON, output=[JSON], success=False, error=TEXT, latency_ms=1.5
    )
    return make_turn(
        tenant_id,
        customer_profile_id=uuid4(),
        turn_number=5,
        user_message=TEXT,
        agent_response="",
        matched_rule_ids=[uuid4()],
        scenario_id=uuid4(),
        step_id=uuid4(),
        tool_calls=[call],
        template_ids_used=[uuid4()],
        metadata=JSON,
        timestamp=at(1),
    )


def full_event(tenant_id: UUID) -> AuditEvent:
    return make_event(
        tenant_id, event_data=JSON, session_id=uuid4(), turn_id=uuid4(), customer_profile_id=uuid4(), timestamp=at(1)
    )
