"""The entities, each declared once: tables, mapping, the reference, factories and round-trip tests follow from this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import UUID

from convostore.models import (
    Agent,
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
    Variable,
)
from convostore.models.base import Model

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Unique:
    """Columns whose values at most one living row of a tenant has; `among` limits that to rows with these values."""

    columns: tuple[str, ...]
    among: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def counts(self, item: Model) -> bool:
        """Return whether an item is one of those that must differ."""
        return all(getattr(item, name) in values for name, values in self.among.items())

    def values_of(self, item: Model) -> tuple[Any, ...]:
        """Return the values of an item that others must not have."""
        return tuple(getattr(item, name) for name in self.columns)


@dataclass(frozen=True)
class Declaration(Generic[M]):
    """What a backend must know of an entity besides its model.

    Attributes:
        name: the word for it in tables, errors and logs.
        model: its model; every field is a column.
        key: its primary key after `tenant_id`.
        order: the columns lists are sorted by, a leading minus for descending; the key breaks ties, ascending.
        unique: unique sets besides the key.
        parents: the columns that refer to a row of another entity, by its name, which must be there.
        revisioned: whether saving compares and sets a revision.
        soft_delete: whether deletion only sets `deleted_at`.
    """

    name: str
    model: type[M]
    order: tuple[str, ...]
    key: tuple[str, ...] = ("id",)
    unique: tuple[Unique, ...] = ()
    parents: Mapping[str, str] = field(default_factory=dict)
    revisioned: bool = False
    soft_delete: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, which are the fields of the model."""
        return tuple(self.model.model_fields)

    @property
    def content(self) -> tuple[str, ...]:
        """The columns that the caller decides: what two writes of one id must agree in to be the same."""
        return tuple(name for name in self.columns if name not in self.model.store_managed)

    def key_of(self, item: M) -> tuple[Any, ...]:
        """Return the values of an item's key."""
        return tuple(getattr(item, name) for name in self.key)

    def position(self, order: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Return the columns that say where a row stands in a list: those of the order, or of another, and the key."""
        return (*(order or self.order), *self.key)

    def constraint(self, unique: Unique) -> str:
        """Return the name of a unique set, which is the `code` of the ConflictError it raises."""
        return f"{self.name}_{'_'.join(unique.columns)}_key"


_IN_FORCE = (MigrationPlanStatus.PENDING, MigrationPlanStatus.APPROVED, MigrationPlanStatus.DEPLOYED)

AGENT = Declaration("agent", Agent, ("name",), unique=(Unique(("name",)),), revisioned=True, soft_delete=True)
RULE = Declaration("rule", Rule, ("-priority", "name"), revisioned=True, soft_delete=True)
SCENARIO = Declaration("scenario", Scenario, ("name",), revisioned=True, soft_delete=True)
TEMPLATE = Declaration("template", Template, ("name",), revisioned=True, soft_delete=True)
VARIABLE = Declaration(
    "variable",
    Variable,
    ("name",),
    unique=(Unique(("agent_id", "name")),),
    revisioned=True,
    soft_delete=True,
)
TOOL_ACTIVATION = Declaration(
    "tool_activation",
    ToolActivation,
    ("tool_id",),
    unique=(Unique(("agent_id", "tool_id")),),
    revisioned=True,
    soft_delete=True,
)
MIGRATION_PLAN = Declaration(
    "migration_plan",
    MigrationPlan,
    ("-created_at",),
    unique=(Unique(("scenario_id", "from_version", "to_version"), among={"status": _IN_FORCE}),),
    revisioned=True,
    soft_delete=True,
)
SCENARIO_ARCHIVE = Declaration("scenario_archive", Scenario, ("name",), key=("id", "version"))

EPISODE = Declaration("episode", Episode, ("-recorded_at",))
ENTITY = Declaration("entity", Entity, ("-recorded_at",), revisioned=True)
RELATIONSHIP = Declaration(
    "relationship",
    Relationship,
    ("-recorded_at",),
    parents={"from_entity_id": "entity", "to_entity_id": "entity"},
    revisioned=True,
)

SESSION = Declaration("session", Session, ("-last_activity_at",), key=("session_id",), revisioned=True)

AGENT_OWNED: tuple[Declaration[Any], ...] = (RULE, SCENARIO, TEMPLATE, VARIABLE, TOOL_ACTIVATION)
"""What belongs to an agent and is deleted and restored with it."""

CONFIG: tuple[Declaration[Any], ...] = (AGENT, *AGENT_OWNED, MIGRATION_PLAN)
"""What a configuration store saves and deletes."""

DECLARATIONS: tuple[Declaration[Any], ...] = (
    *CONFIG,
    SCENARIO_ARCHIVE,
    EPISODE,
    ENTITY,
    RELATIONSHIP,
    SESSION,
)
"""Every entity that is one row of one table. Profiles and audit records are several and have files of their own."""


def in_force(plan: MigrationPlan) -> bool:
    """Return whether a migration plan is pending, approved or deployed."""
    return plan.status in _IN_FORCE


def tenant_of(item: Model) -> UUID:
    """Return the tenant of an item."""
    tenant: UUID = item.__dict__["tenant_id"]
    return tenant
