"""How open sessions move from one version of a scenario to another."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from convostore.models.base import Model
from convostore.models.enums import Channel, MigrationPlanStatus
from convostore.models.fields import (
    Count,
    Identifier,
    JsonObject,
    Text,
    UtcDatetime,
    Version,
    named_keys,
    new_id,
    now,
)

MigrationScenario = Literal["clean_graft", "gap_fill", "re_route"]
"""How a session moves: as it is, after data it lacks is collected, or to another branch."""

Days = Annotated[int, Field(ge=0, le=3_650_000)]
"""A whole number of days, 0 to 3,650,000."""


class ScopeFilter(Model):
    """Which sessions a search or a migration includes: all conditions must hold, and exclusion wins."""

    include_channels: list[Channel] = Field(default_factory=list)
    """Only sessions on these channels; empty for all."""
    exclude_channels: list[Channel] = Field(default_factory=list)
    """No sessions on these channels."""
    include_current_nodes: list[Text] = Field(default_factory=list)
    """Only sessions whose last visit has one of these as `step_name`, each at most 1 MiB; empty for all."""
    exclude_current_nodes: list[Text] = Field(default_factory=list)
    """No sessions whose last visit has one of these as `step_name`, each at most 1 MiB."""
    max_session_age_days: Days | None = None
    """Highest age by `created_at` in days, inclusive, 0 to 3,650,000; None for no limit."""
    min_session_age_days: Days | None = None
    """Lowest age by `created_at` in days, inclusive, 0 to 3,650,000; None for no limit."""
    custom_conditions: list[Text] = Field(default_factory=list)
    """Conditions in the caller's notation, each at most 1 MiB; session searches refuse a filter that has any."""


class StepChanges(Model):
    """What changed on one side of an anchor."""

    inserted_nodes: list[JsonObject] = Field(default_factory=list)
    """Steps that only the new version has, each a JSON object of at most 1 MiB in the caller's format."""
    removed_node_ids: list[UUID] = Field(default_factory=list)
    """Steps that only the old version has."""
    new_forks: list[JsonObject] = Field(default_factory=list)
    """Forks that only the new version has, each a JSON object of at most 1 MiB in the caller's format."""
    modified_transitions: list[JsonObject] = Field(default_factory=list)
    """Transitions that differ, each a JSON object of at most 1 MiB in the caller's format."""


class AnchorTransformation(Model):
    """How sessions are moved at one anchor: a step that both versions have, known by its content hash."""

    anchor_content_hash: Identifier
    """Content hash of the anchor, computed by the caller, 1 to 200 characters."""
    anchor_name: Text
    """Name of the anchor, for people; at most 1 MiB."""
    anchor_node_id_v1: UUID
    """Id of the anchor in the old version."""
    anchor_node_id_v2: UUID
    """Id of the anchor in the new version."""
    migration_scenario: MigrationScenario
    """How a session moves: as it is, after data it lacks is collected, or to another branch."""
    upstream_changes: StepChanges = Field(default_factory=StepChanges)
    """Changes before the anchor, which sessions at the anchor have already passed."""
    downstream_changes: StepChanges = Field(default_factory=StepChanges)
    """Changes behind the anchor, which sessions at the anchor have yet to reach."""


class DeletedNode(Model):
    """A step that only the old version has."""

    node_id: UUID
    """Id of the step in the old version."""
    node_name: Text
    """Name of the step, for people; at most 1 MiB."""
    content_hash: Identifier | None = None
    """Content hash of the step, computed by the caller, 1 to 200 characters; None if unknown."""
    nearest_anchor_hash: Identifier | None = None
    """Content hash of the anchor to which sessions at the step move, 1 to 200 characters; None if there is none."""


class TransformationMap(Model):
    """The difference between two versions of a scenario."""

    anchors: list[AnchorTransformation] = Field(default_factory=list)
    """Steps that both versions have, with the changes around them."""
    deleted_nodes: list[DeletedNode] = Field(default_factory=list)
    """Steps that only the old version has."""
    new_node_ids: list[UUID] = Field(default_factory=list)
    """Steps that only the new version has."""

    def get_anchor_by_hash(self, hash: str) -> AnchorTransformation | None:
        """Return the anchor with this content hash, or None."""
        return next((anchor for anchor in self.anchors if anchor.anchor_content_hash == hash), None)


class AnchorMigrationPolicy(Model):
    """An operator's decision for one anchor."""

    anchor_content_hash: Identifier
    """Content hash of the anchor, 1 to 200 characters, as in `AnchorTransformation`."""
    anchor_name: Text
    """Name of the anchor, for people; at most 1 MiB."""
    scope_filter: ScopeFilter = Field(default_factory=ScopeFilter)
    """Which sessions at the anchor migrate."""
    update_downstream: bool = True
    """Whether the sessions follow the new version behind the anchor."""
    force_scenario: MigrationScenario | None = None
    """How the sessions move, whatever was computed; None keeps the computed `migration_scenario`."""


class MigrationSummary(Model):
    """The expected effect of a migration plan, computed by the caller for the operator who approves it."""

    total_anchors: Count = 0
    """Number of anchors, 0 or more."""
    anchors_with_clean_graft: Count = 0
    """Number of anchors whose sessions move as they are, 0 or more."""
    anchors_with_gap_fill: Count = 0
    """Number of anchors whose sessions may lack data, 0 or more."""
    anchors_with_re_route: Count = 0
    """Number of anchors whose sessions may continue on another branch, 0 or more."""
    nodes_deleted: Count = 0
    """Number of steps that only the old version has, 0 or more."""
    estimated_sessions_affected: Count = 0
    """Estimated number of sessions that migrate, 0 or more."""
    sessions_by_anchor: Annotated[dict[Text, Count], named_keys] = Field(default_factory=dict)
    """Estimated number of sessions, 0 or more, by content hash of the anchor they stand at."""
    warnings: list[Text] = Field(default_factory=list)
    """What the operator should check before approval, each at most 1 MiB."""
    fields_to_collect: list[Text] = Field(default_factory=list)
    """Names of the profile fields that sessions may lack, each at most 1 MiB."""


class MigrationPlan(Model):
    """A plan that moves open sessions of a scenario from one version to another."""

    store_managed: ClassVar[tuple[str, ...]] = ("revision", "created_at", "updated_at", "deleted_at")

    id: UUID = Field(default_factory=new_id)
    """Primary key within the tenant; a UUID of version 7 if omitted."""
    tenant_id: UUID
    """Tenant that owns the plan; no other tenant can read or change it."""
    scenario_id: UUID
    """Scenario whose sessions migrate; not checked to exist."""
    from_version: Version
    """Version of the scenario to migrate from, 1 or more."""
    to_version: Version
    """Version of the scenario to migrate to, 1 or more."""
    scenario_checksum_v1: Identifier
    """Content hash of the old version, computed by the caller, 1 to 200 characters."""
    scenario_checksum_v2: Identifier
    """Content hash of the new version, computed by the caller, 1 to 200 characters."""
    transformation_map: TransformationMap = Field(default_factory=TransformationMap)
    """Difference between the two versions."""
    anchor_policies: Annotated[dict[Text, AnchorMigrationPolicy], named_keys] = Field(default_factory=dict)
    """Decisions of the operator by content hash of the anchor; an anchor without one migrates as computed."""
    summary: MigrationSummary = Field(default_factory=MigrationSummary)
    """Expected effect, for the operator who approves the plan."""
    status: MigrationPlanStatus = MigrationPlanStatus.PENDING
    """Lifecycle status, set by the caller; of two versions, one living plan may be pending, approved or deployed."""
    created_at: UtcDatetime = Field(default_factory=now)
    """Time of the first save (UTC), set by the store; lists are ordered by it, newest first."""
    updated_at: UtcDatetime = Field(default_factory=now)
    """Time of the latest save (UTC), set by the store."""
    deleted_at: UtcDatetime | None = None
    """Time of the soft delete (UTC), set by the store; None in everything that a store returns."""
    created_by: Identifier | None = None
    """Who made the plan, 1 to 200 characters, set by the caller; None if unknown."""
    approved_at: UtcDatetime | None = None
    """Time of the approval (UTC), set by the caller; None before it."""
    approved_by: Identifier | None = None
    """Who approved the plan, 1 to 200 characters, set by the caller; None before the approval."""
    deployed_at: UtcDatetime | None = None
    """Time of the deployment (UTC), set by the caller; None before it."""
    expires_at: UtcDatetime | None = None
    """Time after which the plan should not be used (UTC), enforced by the caller; None for no end."""
    revision: Count = 0
    """Revision for optimistic concurrency: 0 if never stored, incremented by the store on every save."""
