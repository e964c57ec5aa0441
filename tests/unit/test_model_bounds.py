"""The bounds of fields: both ends are valid, values beyond are refused."""

from __future__ import annotations

from typing import Any, TypeAlias
from uuid import uuid4

import pydantic
import pytest

from convostore.models import (
    Agent,
    AgentSettings,
    AnchorTransformation,
    AuditEvent,
    ChannelIdentity,
    Entity,
    Episode,
    MigrationPlan,
    MigrationSummary,
    PendingMigration,
    ProfileAsset,
    ProfileField,
    Relationship,
    Rule,
    Scenario,
    ScenarioStep,
    ScopeFilter,
    Session,
    StepTransition,
    StepVisit,
    Template,
    ToolActivation,
    ToolCall,
    TurnRecord,
    Variable,
)
from convostore.models.base import Model
from tests.unit.examples import with_field

Field: TypeAlias = tuple[type[Model], str]


def case(*fields: Field, good: tuple[Any, ...], bad: tuple[Any, ...]) -> list[Any]:
    return [pytest.param(model, name, good, bad, id=f"{model.__name__}.{name}") for model, name in fields]


def lengths(*fields: Field, longest: int) -> list[Any]:
    # Characters count, not bytes.
    return case(*fields, good=("x", " ", "x" * longest, "語" * longest), bad=("", "x" * (longest + 1), None, 5))


def whole(*fields: Field, lowest: int, highest: int) -> list[Any]:
    beyond = (lowest - 1, highest + 1, 1.5, "one", float("nan"))
    return case(*fields, good=(lowest, highest), bad=beyond)


def real(*fields: Field, lowest: float, highest: float) -> list[Any]:
    beyond = (lowest - 0.001, highest + 0.001, float("nan"), float("inf"), -float("inf"), "high")
    return case(*fields, good=(lowest, highest, 0.5), bad=beyond)


SHA256 = "0123456789abcdef" * 4
LARGEST = 2**63 - 1
CASES = [
    *lengths(*((model, "name") for model in (Agent, Rule, Scenario, ScenarioStep, Template)), longest=100),
    *lengths((Entity, "name"), longest=500),
    *lengths((Entity, "entity_type"), (Relationship, "relation_type"), (AuditEvent, "event_type"), longest=100),
    *lengths((Session, "user_channel_id"), (ChannelIdentity, "channel_user_id"), longest=512),
    *lengths((ProfileField, "value_type"), longest=50),
    *lengths((ToolActivation, "tool_id"), (Variable, "resolver_tool_id"), (ToolCall, "tool_id"), longest=200),
    *lengths((ProfileAsset, "asset_type"), (ProfileAsset, "mime_type"), longest=200),
    *lengths((MigrationPlan, "scenario_checksum_v1"), (PendingMigration, "anchor_content_hash"), longest=200),
    *case(
        (Variable, "name"),
        (ProfileField, "name"),
        good=("a", "_", "order_id_2", "x" * 50),
        bad=("", "x" * 51, "Upper", "1st", "a-b", "a b", "a\n", "ä", "a\x00", None),
    ),
    *case(
        (ProfileAsset, "checksum"), good=(SHA256,), bad=("", SHA256[1:], SHA256 + "0", SHA256.upper(), SHA256 + "\n")
    ),
    *whole((Rule, "priority"), lowest=-100, highest=100),
    *whole((StepTransition, "priority"), lowest=-(2**31), highest=2**31 - 1),
    *whole((AgentSettings, "max_tokens"), (Agent, "current_version"), lowest=1, highest=2**31 - 1),
    *whole((Scenario, "version"), (Session, "config_version"), lowest=1, highest=2**31 - 1),
    *whole((Session, "active_scenario_version"), lowest=1, highest=2**31 - 1),
    *whole((MigrationPlan, "from_version"), (MigrationPlan, "to_version"), lowest=1, highest=2**31 - 1),
    *whole((PendingMigration, "target_version"), lowest=1, highest=2**31 - 1),
    *whole((Session, "turn_count"), (Session, "relocalization_count"), lowest=0, highest=LARGEST),
    *whole((StepVisit, "turn_number"), (TurnRecord, "turn_number"), lowest=0, highest=LARGEST),
    *whole((TurnRecord, "tokens_used"), (ProfileAsset, "size_bytes"), lowest=0, highest=LARGEST),
    *whole((Rule, "max_fires_per_session"), (Rule, "cooldown_turns"), lowest=0, highest=LARGEST),
    *whole((Variable, "cache_ttl_seconds"), (MigrationSummary, "nodes_deleted"), lowest=0, highest=LARGEST),
    *whole((ScopeFilter, "max_session_age_days"), lowest=0, highest=3_650_000),
    *whole((ScopeFilter, "min_session_age_days"), lowest=0, highest=3_650_000),
    *real((AgentSettings, "temperature"), lowest=0.0, highest=2.0),
    *real((StepVisit, "confidence"), (Episode, "importance"), lowest=0.0, highest=1.0),
    *real((Relationship, "confidence"), (ProfileField, "confidence"), lowest=0.0, highest=1.0),
    *case(
        (TurnRecord, "latency_ms"),
        (ToolCall, "latency_ms"),
        good=(0, 0.25, 1e12),
        bad=(-0.001, float("nan"), float("inf"), None),
    ),
    *case(
        (Episode, "content_type"),
        good=("message", "event", "document", "summary", "fact"),
        bad=("Message", "", None),
    ),
    *case((Episode, "source"), good=("user", "agent", "system", "external"), bad=("robot", "")),
    *case((Episode, "language"), good=("simple", "english", None), bad=("klingon", "", "English")),
    *case((ToolActivation, "status"), good=("enabled", "disabled"), bad=("on", True)),
    *case(
        (AnchorTransformation, "migration_scenario"), good=("clean_graft", "gap_fill", "re_route"), bad=("graft", "")
    ),
    *case((Session, "channel"), good=("whatsapp", "slack", "webchat", "email", "voice", "sms", "api"), bad=("fax",)),
    *case((Session, "rule_fires"), good=({}, {"x" * 200: 0}), bad=({"": 1}, {"x" * 201: 1}, {"x": -1}, {1: 1}, [])),
    *case((Session, "variables"), good=({"x": None},), bad=({"": 1}, {"x" * 201: 1}, {"x": object()}, {1: 1})),
    *case((Scenario, "tags"), good=([], ["x" * 200]), bad=([""], ["x" * 201], [None], "tag")),
]


@pytest.mark.parametrize(("model", "field", "good", "bad"), CASES)
def test_a_field_accepts_values_within_its_bounds_only(
    model: type[Model], field: str, good: tuple[Any, ...], bad: tuple[Any, ...]
) -> None:
    for value in good:
        assert getattr(with_field(model, field, value), field) == value
    for value in bad:
        with pytest.raises(pydantic.ValidationError, match=field):
            with_field(model, field, value)


@pytest.mark.parametrize("model", [Rule, Template])
@pytest.mark.parametrize("scope", ["scenario", "step"])
def test_a_narrow_scope_must_be_named(model: type[Model], scope: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="scope_id is required unless the scope is global"):
        model(**{**with_field(model, "scope_id", uuid4()).__dict__, "scope": scope, "scope_id": None})
    everywhere = model(**{**with_field(model, "scope_id", uuid4()).__dict__, "scope": "global", "scope_id": None})
    assert everywhere.__dict__["scope_id"] is None
