"""Migration plans to test with."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from convostore.models import (
    AnchorMigrationPolicy,
    AnchorTransformation,
    Channel,
    DeletedNode,
    MigrationPlan,
    MigrationSummary,
    ScopeFilter,
    StepChanges,
    TransformationMap,
)
from convostore.testing.factories.values import JSON, TEXT, at


def make_migration_plan(tenant_id: UUID, **changes: Any) -> MigrationPlan:
    values = {
        "scenario_id": uuid4(),
        "from_version": 1,
        "to_version": 2,
        "scenario_checksum_v1": "one",
        "scenario_checksum_v2": "two",
    }
    return MigrationPlan(**{"tenant_id": tenant_id, **values, **changes})


def full_migration_plan(tenant_id: UUID) -> MigrationPlan:
    changes = StepChanges(
        inserted_nodes=[{"id": "x"}], removed_node_ids=[uuid4()], new_forks=[JSON], modified_transitions=[{}]
    )
    anchor = AnchorTransformation(
        anchor_content_hash="hash",
        anchor_name="anchor",
        anchor_node_id_v1=uuid4(),
        anchor_node_id_v2=uuid4(),
        migration_scenario="gap_fill",
        upstream_changes=changes,
        downstream_changes=changes,
    )
    scope = ScopeFilter(
        include_channels=[Channel.EMAIL],
        exclude_channels=[Channel.SMS],
        include_current_nodes=["a"],
        exclude_current_nodes=["b"],
        max_session_age_days=30,
        min_session_age_days=1,
        custom_conditions=["vip"],
    )
    policy = AnchorMigrationPolicy(
        anchor_content_hash="hash",
        anchor_name="anchor",
        scope_filter=scope,
        update_downstream=False,
        force_scenario="re_route",
    )
    deleted = DeletedNode(node_id=uuid4(), node_name="gone", content_hash="h", nearest_anchor_hash="hash")
    summary = MigrationSummary(
        total_anchors=1,
        anchors_with_gap_fill=1,
        nodes_deleted=1,
        estimated_sessions_affected=9,
        sessions_by_anchor={TEXT: 9},
        warnings=[TEXT],
        fields_to_collect=["email"],
    )
    return make_migration_plan(
        tenant_id,
        transformation_map=TransformationMap(anchors=[anchor], deleted_nodes=[deleted], new_node_ids=[uuid4()]),
        anchor_policies={TEXT: policy},
        summary=summary,
        status="approved",
        created_by="ann",
        approved_at=at(1),
        approved_by="bob",
        deployed_at=at(2),
        expires_at=at(3),
    )
