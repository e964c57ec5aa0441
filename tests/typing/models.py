"""The models as their makers see them: required fields, defaults, and what may be changed afterwards."""

from __future__ import annotations

from datetime import datetime
from typing import assert_type
from uuid import UUID

from convostore.models import (
    Agent,
    AgentSettings,
    Channel,
    CustomerProfile,
    Episode,
    Rule,
    Scope,
    Session,
    SessionStatus,
    StepVisit,
    TurnRecord,
)


def what_must_be_given(id: UUID) -> list[object]:
    return [
        Agent(tenant_id=id, name="Ann"),
        Rule(tenant_id=id, agent_id=id, name="Greet", condition_text="…", action_text="…"),
        Session(tenant_id=id, agent_id=id, channel=Channel.EMAIL, user_channel_id="ann@example.com"),
        CustomerProfile(tenant_id=id),
    ]


def what_a_session_holds(session: Session) -> None:
    assert_type(session.session_id, UUID)
    assert_type(session.channel, Channel)
    assert_type(session.status, SessionStatus)
    assert_type(session.step_history, list[StepVisit])
    assert_type(session.customer_profile_id, UUID | None)
    assert_type(session.rule_fires, dict[str, int])
    assert_type(session.last_activity_at, datetime)
    assert_type(session.revision, int)
    assert_type(session.model_copy(deep=True), Session)


def what_other_models_hold(rule: Rule, agent: Agent, episode: Episode, turn: TurnRecord) -> None:
    assert_type(rule.scope, Scope)
    assert_type(rule.embedding, list[float] | None)
    assert_type(rule.deleted_at, datetime | None)
    assert_type(agent.settings, AgentSettings)
    assert_type(agent.settings.temperature, float)
    assert_type(episode.embedding, list[float] | None)
    assert_type(turn.matched_rule_ids, list[UUID])


def what_is_refused(id: UUID, session: Session) -> None:
    Agent(tenant_id=id)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Agent(tenant_id=id, name="Ann", nmae="Ann")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Agent(tenant_id="acme", name="Ann")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Agent(tenant_id=id, name=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Agent(tenant_id=id, name="Ann", settings={})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    session.status = "closed"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    session.note = ""  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
