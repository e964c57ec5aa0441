"""Sessions and their visits to test with."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from convostore.models import Channel, PendingMigration, Session, SessionStatus, StepVisit
from convostore.testing.factories.values import JSON, MOMENT, TEXT, at


def make_session(tenant_id: UUID, **changes: Any) -> Session:
    values = {"agent_id": uuid4(), "channel": Channel.WEBCHAT, "user_channel_id": f"user {uuid4()}"}
    return Session(**{"tenant_id": tenant_id, **values, **changes})


def make_visit(**changes: Any) -> StepVisit:
    return StepVisit(**{"step_id": uuid4(), "entered_at": MOMENT, "turn_number": 1, **changes})


def full_session(tenant_id: UUID) -> Session:
    pending = PendingMigration(target_version=4, anchor_content_hash="hash", migration_plan_id=uuid4(), marked_at=at(4))
    visits = [
        make_visit(
            step_name=TEXT,
            transition_reason="asked",
            confidence=0.125,
            is_checkpoint=True,
            checkpoint_description=TEXT,
            step_content_hash="first",
        ),
        make_visit(turn_number=2),
    ]
    return make_session(
        tenant_id,
        channel=Channel.WHATSAPP,
        user_channel_id=TEXT,
        customer_profile_id=uuid4(),
        config_version=2,
        active_scenario_id=uuid4(),
        active_step_id=uuid4(),
        active_scenario_version=3,
        step_history=visits,
        relocalization_count=1,
        rule_fires={"rule": 2},
        rule_last_fire_turn={"rule": 1},
        variables={"cart": JSON, "list": [], "none": None, TEXT: 1},
        variable_updated_at={"cart": at(5)},
        turn_count=6,
        status=SessionStatus.PROCESSING,
        pending_migration=pending,
        scenario_checksum="sum",
    )
