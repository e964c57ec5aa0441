"""How open sessions move from one version of a scenario to another."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from convostore.models.base import Model
from convostore.models.enums import Channel, MigrationPlanStatus
from convostore.models.fields import Count, Identifier, JsonObject, Text, UtcDatetime, Version, new_id, now

MigrationScenario = Literal["clean_graft", "gap_fill", "re_route"]
Days = Annotated[int, Field(ge=0, le=3_650_000)]


class ScopeFilter(Model):
    """Which sessions a migration touches: channels, nodes (the current step's `step_name`) and age by `created_at`."""

    include_channels: list[Channel] = Field(default_factory=list)
    exclude_channels: list[Channel] = Field(default_factory=list)
    include_current_nodes: list[Text] = Field(default_factory=list)
    exclude_current_nodes: list[Text] = Field(default_factory=list)
    max_session_age_days: Days | None = None
    min_session_age_days: Days | None = None
    custom_conditions: list[Text] = Field(default_factory=list)


class StepChanges(Model):
    """What changed on one side of an anchor."""

    inserted_nodes: list[JsonObject] = Field(default_factory=list)
    removed_node_ids: list[UUID] = Field(default_factory=list)
    new_forks: list[JsonObject] = Field(default_factory=list)
    modified_transitions: list[JsonObject] = Field(default_factory=list)


class AnchorTransformation(Model):
    """How sessions that stand at one anchor are moved."""

    anchor_content_hash: Identifier
    anchor_name: Text
    anchor_node_id_v1: UUID
    anchor_node_id_v2: UUID
    migration_scenario: MigrationScenario
    upstream_changes: StepChanges = Field(default_factory=StepChanges)
    downstream_changes: StepChanges = Field(default_factory=StepChanges)


class DeletedNode(Model):
    """A step that the new version no longer has."""

    node_id: UUID
    node_name: Text
    content_hash: Identifier | None = None
    nearest_anchor_hash: Identifier | None = None


class TransformationMap(Model):
    """Everything that changed between two versions of a scenario."""

    anchors: list[AnchorTransformation] = Field(default_factory=list)
    deleted_nodes: list[DeletedNode] = Field(default_factory=list)
    new_node_ids: list[UUID] = Field(default_factory=list)

    def get_anchor_by_hash(self, hash: str) -> AnchorTransformation | None:
        """Return the anchor with this content hash, or None."""
        return next((anchor for anchor in self.anchors if anchor.anchor_content_hash == hash), None)


class AnchorMigrationPolicy(Model):
    """What an operator decided for one anchor."""

    anchor_content_hash: Identifier
    anchor_name: Text
    scope_filter: ScopeFilter = Field(default_factory=ScopeFilter)
    update_downstream: bool = True
    force_scenario: MigrationScenario | None = None


class MigrationSummary(Model):
    """What a migration plan will do, in numbers."""

    total_anchors: Count = 0
    anchors_with_clean_graft: Count = 0
    anchors_with_gap_fill: Count = 0
    anchors_with_re_route: Count = 0
    nodes_deleted: Count = 0
    estimated_sessions_affected: Count = 0
    sessions_by_anchor: dict[Text, Count] = Field(default_factory=dict)
    warnings: list[Text] = Field(default_factory=list)
    fields_to_collect: list[Text] = Field(default_factory=list)


class MigrationPlan(Model):
    """A plan that moves open sessions of a scenario from one version to another."""

    stamps: ClassVar[tuple[str, ...]] = ("revision", "created_at", "updated_at", "deleted_at")

    id: UUID = Field(default_factory=new_id)
    tenant_id: UUID
    scenario_id: UUID
    from_version: Version
    to_version: Version
    scenario_checksum_v1: Identifier
    scenario_checksum_v2: Identifier
    transformation_map: TransformationMap = Field(default_factory=TransformationMap)
    anchor_policies: dict[Text, AnchorMigrationPolicy] = Field(default_factory=dict)
    summary: MigrationSummary = Field(default_factory=MigrationSummary)
    status: MigrationPlanStatus = MigrationPlanStatus.PENDING
    created_at: UtcDatetime = Field(default_factory=now)
    updated_at: UtcDatetime = Field(default_factory=now)
    deleted_at: UtcDatetime | None = None
    created_by: Identifier | None = None
    approved_at: UtcDatetime | None = None
    approved_by: Identifier | None = None
    deployed_at: UtcDatetime | None = None
    expires_at: UtcDatetime | None = None
    revision: Count = 0
