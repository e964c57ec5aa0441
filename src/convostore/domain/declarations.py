"""Everything that the stores keep, each declared once: tables, methods, cascades and tests follow from this."""

from __future__ import annotations

from typing import Any, TypeVar

from convostore.domain.declaration import Declaration, Kept, RecordType, Unique
from convostore.domain.text import is_plain, read_name, search_text
from convostore.models import (
    Agent,
    AuditEvent,
    CustomerProfile,
    Entity,
    Episode,
    MigrationPlan,
    MigrationPlanStatus,
    Relationship,
    Rule,
    Scenario,
    Session,
    Template,
    ToolActivation,
    TurnRecord,
    Variable,
)
from convostore.models.base import Model

M = TypeVar("M", bound=Model)


def _config(name: str, model: type[M], order: tuple[str, ...], **more: Any) -> Declaration[M]:
    return Declaration(name, model, order, revisioned=True, soft_delete=True, **more)


def _search_text(text: str) -> str | None:
    """Return what a text is found by; None if that is the text in lower case."""
    return None if is_plain(text) else search_text(text)


_IN_FORCE = (MigrationPlanStatus.PENDING, MigrationPlanStatus.APPROVED, MigrationPlanStatus.DEPLOYED)

AGENT = _config(
    "agent",
    Agent,
    ("name",),
    unique=(Unique(("name",)),),
    sensitive=("description", "system_prompt", "metadata"),
)
RULE = _config(
    "rule",
    Rule,
    ("-priority", "name"),
    owner=AGENT,
    only={"enabled": True},
    sensitive=("description", "condition_text", "action_text", "embedding"),
    computed={"search_text": ("condition_text", _search_text)},
)
SCENARIO = _config(
    "scenario",
    Scenario,
    ("name",),
    owner=AGENT,
    only={"enabled": True},
    sensitive=("description", "steps", "entry_condition_text", "entry_condition_embedding"),
)
TEMPLATE = _config("template", Template, ("name",), owner=AGENT, sensitive=("text", "conditions"))
VARIABLE = _config(
    "variable",
    Variable,
    ("name",),
    owner=AGENT,
    unique=(Unique(("agent_id", "name")),),
    sensitive=("description",),
)
TOOL_ACTIVATION = _config(
    "tool_activation",
    ToolActivation,
    ("tool_id",),
    owner=AGENT,
    lookup=("agent_id", "tool_id"),
    unique=(Unique(("agent_id", "tool_id")),),
    sensitive=("policy_override",),
)
MIGRATION_PLAN = _config(
    "migration_plan",
    MigrationPlan,
    ("-created_at",),
    listed="list_migration_plans",
    unique=(Unique(("scenario_id", "from_version", "to_version"), among={"status": _IN_FORCE}),),
    sensitive=("transformation_map", "anchor_policies", "summary", "created_by", "approved_by"),
)
SCENARIO_ARCHIVE = Declaration("scenario_archive", Scenario, ("name",), ("id", "version"), sensitive=SCENARIO.sensitive)

EPISODE = Declaration(
    "episode",
    Episode,
    ("-recorded_at",),
    sensitive=("content", "embedding", "metadata"),
    customer={"customer_profile_id": "profile", "session_id": "session"},
    computed={"search_text": ("content", _search_text)},
)
ENTITY = Declaration(
    "entity",
    Entity,
    ("-recorded_at",),
    plural="entities",
    revisioned=True,
    sensitive=("name", "attributes", "embedding"),
    customer={"customer_profile_id": "profile"},
    computed={"search_text": ("name", lambda name: str(read_name(name)))},
)
RELATIONSHIP = Declaration(
    "relationship",
    Relationship,
    ("-recorded_at",),
    parents={"from_entity_id": "entity", "to_entity_id": "entity"},
    revisioned=True,
    sensitive=("attributes",),
    customer={"from_entity_id": "entity", "to_entity_id": "entity"},
)

SESSION = Declaration(
    "session",
    Session,
    ("-last_activity_at",),
    key=("session_id",),
    revisioned=True,
    sensitive=("user_channel_id", "step_history", "variables"),
    customer={"customer_profile_id": "profile"},
)

DECLARATIONS: tuple[Declaration[Any], ...] = tuple(each for each in globals().values() if isinstance(each, Declaration))
"""Everything that is one row of one table. Profiles and audit records are several and have files of their own."""

AGENT_OWNED = tuple(declaration for declaration in DECLARATIONS if declaration.owner is AGENT)
"""What belongs to an agent and is deleted and restored with it."""

CONFIG = tuple(declaration for declaration in DECLARATIONS if declaration.soft_delete)
"""What a configuration store saves, deletes, restores and purges."""

TURN = RecordType(
    "turn",
    TurnRecord,
    "turn_id",
    ("session_id", "customer_profile_id", "timestamp"),
    sensitive=("user_message", "agent_response", "tool_calls", "metadata"),
    customer={"customer_profile_id": "profile", "session_id": "session"},
)
EVENT = RecordType(
    "event",
    AuditEvent,
    "id",
    ("session_id", "turn_id", "customer_profile_id", "event_type", "timestamp"),
    sensitive=("event_data",),
    customer={"customer_profile_id": "profile", "session_id": "session", "turn_id": "turn"},
)
RECORD_TYPES: dict[str, RecordType[Any]] = {kind.name: kind for kind in (TURN, EVENT)}

PROFILE = Kept("profile", CustomerProfile, sensitive=("channel_identities", "fields", "assets", "consents"))

KEPT: tuple[Kept[Any], ...] = (*DECLARATIONS, TURN, EVENT, PROFILE)
"""Everything that a store keeps."""


def in_force(plan: MigrationPlan) -> bool:
    """Return whether a migration plan is pending, approved or deployed."""
    return plan.status in _IN_FORCE
