"""Models to test with: `make_…` gives a small valid one, `full_…` one with every field filled distinctively."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from convostore.models import (
    Agent,
    AgentSettings,
    AnchorMigrationPolicy,
    AnchorTransformation,
    AuditEvent,
    Channel,
    ChannelIdentity,
    Consent,
    CustomerProfile,
    DeletedNode,
    Entity,
    Episode,
    MigrationPlan,
    MigrationSummary,
    PendingMigration,
    ProfileAsset,
    ProfileField,
    ProfileFieldSource,
    Relationship,
    Rule,
    Scenario,
    ScenarioStep,
    Scope,
    ScopeFilter,
    Session,
    SessionStatus,
    StepChanges,
    StepTransition,
    StepVisit,
    Template,
    TemplateMode,
    ToolActivation,
    ToolCall,
    TransformationMap,
    TurnRecord,
    Variable,
    VariableUpdatePolicy,
    VerificationLevel,
)

MOMENT = datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=UTC)
"""A moment with microseconds, from which tests count."""

TEXT = "Grüße, 世界 👩‍👩‍👧‍👦\n“quoted” \\ back'slash\ttab"
"""Text that a careless encoding damages."""

JSON: dict[str, Any] = {
    "empty": {},
    "none": None,
    "list": [1, 2.5, "three", [], {"deep": [True, False]}],
    "big": 10**37,
    "float": 0.1,
    "whole float": 1e23,
    TEXT: TEXT,
}
"""JSON that a careless encoding damages."""


def at(seconds: float) -> datetime:
    """Return the moment this many seconds after `MOMENT`."""
    return MOMENT + timedelta(seconds=seconds)


def make_agent(tenant_id: UUID, **changes: Any) -> Agent:
    return Agent(**{"tenant_id": tenant_id, "name": f"agent {uuid4()}", **changes})


def make_rule(tenant_id: UUID, agent_id: UUID, **changes: Any) -> Rule:
    values = {"name": "rule", "condition_text": "the customer is angry", "action_text": "apologise"}
    return Rule(**{"tenant_id": tenant_id, "agent_id": agent_id, **values, **changes})


def make_scenario(tenant_id: UUID, agent_id: UUID, **changes: Any) -> Scenario:
    values = {"name": "scenario", "entry_step_id": uuid4()}
    return Scenario(**{"tenant_id": tenant_id, "agent_id": agent_id, **values, **changes})


def make_template(tenant_id: UUID, agent_id: UUID, **changes: Any) -> Template:
    return Template(**{"tenant_id": tenant_id, "agent_id": agent_id, "name": "template", "text": "Hello!", **changes})


def make_variable(tenant_id: UUID, agent_id: UUID, **changes: Any) -> Variable:
    values = {"name": f"v_{uuid4().hex}", "resolver_tool_id": "crm"}
    return Variable(**{"tenant_id": tenant_id, "agent_id": agent_id, **values, **changes})


def make_tool_activation(tenant_id: UUID, agent_id: UUID, **changes: Any) -> ToolActivation:
    return ToolActivation(**{"tenant_id": tenant_id, "agent_id": agent_id, "tool_id": f"tool {uuid4()}", **changes})


def make_migration_plan(tenant_id: UUID, **changes: Any) -> MigrationPlan:
    values = {
        "scenario_id": uuid4(),
        "from_version": 1,
        "to_version": 2,
        "scenario_checksum_v1": "one",
        "scenario_checksum_v2": "two",
    }
    return MigrationPlan(**{"tenant_id": tenant_id, **values, **changes})


def make_session(tenant_id: UUID, **changes: Any) -> Session:
    values = {"agent_id": uuid4(), "channel": Channel.WEBCHAT, "user_channel_id": f"user {uuid4()}"}
    return Session(**{"tenant_id": tenant_id, **values, **changes})


def make_visit(**changes: Any) -> StepVisit:
    return StepVisit(**{"step_id": uuid4(), "entered_at": MOMENT, "turn_number": 1, **changes})


def make_episode(tenant_id: UUID, agent_id: UUID, **changes: Any) -> Episode:
    values = {"group_id": uuid4(), "content": "The customer likes tea.", "occurred_at": MOMENT}
    return Episode(**{"tenant_id": tenant_id, "agent_id": agent_id, **values, **changes})


def make_entity(tenant_id: UUID, agent_id: UUID, **changes: Any) -> Entity:
    values = {"group_id": uuid4(), "name": "Ann", "entity_type": "person", "valid_from": MOMENT}
    return Entity(**{"tenant_id": tenant_id, "agent_id": agent_id, **values, **changes})


def make_relationship(source: Entity, target: Entity, **changes: Any) -> Relationship:
    values = {
        "tenant_id": source.tenant_id,
        "agent_id": source.agent_id,
        "group_id": uuid4(),
        "from_entity_id": source.id,
        "to_entity_id": target.id,
        "relation_type": "knows",
        "valid_from": MOMENT,
    }
    return Relationship(**{**values, **changes})


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


def make_profile(tenant_id: UUID, **changes: Any) -> CustomerProfile:
    return CustomerProfile(**{"tenant_id": tenant_id, **changes})


def make_identity(**changes: Any) -> ChannelIdentity:
    return ChannelIdentity(**{"channel": Channel.EMAIL, "channel_user_id": f"{uuid4()}@example.com", **changes})


def make_field(name: str = "city", value: Any = "Bonn", **changes: Any) -> ProfileField:
    values = {"value_type": "string", "source": ProfileFieldSource.USER_PROVIDED}
    return ProfileField(**{"name": name, "value": value, **values, **changes})


def make_asset(**changes: Any) -> ProfileAsset:
    values = {
        "name": "passport.pdf",
        "asset_type": "document",
        "storage_provider": "s3",
        "storage_path": "customers/1/passport.pdf",
        "mime_type": "application/pdf",
        "size_bytes": 12_345,
        "checksum": "0f" * 32,
    }
    return ProfileAsset(**{**values, **changes})


def full_agent(tenant_id: UUID) -> Agent:
    settings = AgentSettings(model="large", temperature=1.25, max_tokens=77)
    return make_agent(
        tenant_id,
        description=TEXT,
        system_prompt="Be kind. " * 100,
        enabled=False,
        current_version=7,
        settings=settings,
        metadata=JSON,
    )


def full_rule(tenant_id: UUID, agent_id: UUID) -> Rule:
    return make_rule(
        tenant_id,
        agent_id,
        name="ünïcode 规则"[:100],
        description=TEXT,
        scope=Scope.STEP,
        scope_id=uuid4(),
        priority=-100,
        enabled=False,
        max_fires_per_session=3,
        cooldown_turns=2,
        is_hard_constraint=True,
        attached_tool_ids=["one", TEXT],
        attached_template_ids=[uuid4(), uuid4()],
        embedding=[0.1, -0.2, 1e-30],
        embedding_model="tiny-3",
    )


def full_scenario(tenant_id: UUID, agent_id: UUID) -> Scenario:
    scenario_id, first, last = uuid4(), uuid4(), uuid4()
    onward = StepTransition(
        to_step_id=last,
        condition_text=TEXT,
        condition_embedding=[1.5, -2.25],
        priority=-5,
        condition_fields=["email", "order_id"],
    )
    steps = [
        ScenarioStep(
            id=first,
            scenario_id=scenario_id,
            name="first",
            description=TEXT,
            transitions=[onward],
            template_ids=[uuid4()],
            rule_ids=[uuid4()],
            tool_ids=["lookup"],
            is_entry=True,
            can_skip=True,
            reachable_from_anywhere=True,
            collects_profile_fields=["email"],
            performs_action=True,
            is_required_action=True,
            is_checkpoint=True,
            checkpoint_description="paid",
        ),
        ScenarioStep(id=last, scenario_id=scenario_id, name="last", is_terminal=True),
    ]
    return make_scenario(
        tenant_id,
        agent_id,
        id=scenario_id,
        description=TEXT,
        version=3,
        entry_step_id=first,
        steps=steps,
        entry_condition_text="wants a refund",
        entry_condition_embedding=[0.5] * 8,
        embedding_model="tiny-8",
        content_hash="abc",
        tags=["refund", TEXT],
        enabled=False,
    )


def full_template(tenant_id: UUID, agent_id: UUID) -> Template:
    return make_template(
        tenant_id,
        agent_id,
        text=TEXT,
        mode=TemplateMode.EXCLUSIVE,
        scope=Scope.SCENARIO,
        scope_id=uuid4(),
        conditions="if {x} > 1",
    )


def full_variable(tenant_id: UUID, agent_id: UUID) -> Variable:
    policy = VariableUpdatePolicy.ON_SCENARIO_ENTRY
    return make_variable(
        tenant_id, agent_id, name="_order_2", description=TEXT, update_policy=policy, cache_ttl_seconds=60
    )


def full_tool_activation(tenant_id: UUID, agent_id: UUID) -> ToolActivation:
    return make_tool_activation(
        tenant_id, agent_id, status="disabled", policy_override=JSON, enabled_at=at(1), disabled_at=at(2)
    )


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


def full_episode(tenant_id: UUID, agent_id: UUID) -> Episode:
    return make_episode(
        tenant_id,
        agent_id,
        customer_profile_id=uuid4(),
        session_id=uuid4(),
        content=TEXT,
        content_type="document",
        source="external",
        language="english",
        embedding=[3.0, -4.0],
        embedding_model="tiny-2",
        importance=0.75,
        entity_ids=[uuid4()],
        metadata=JSON,
        recorded_at=at(1),
        valid_from=at(2),
        valid_to=at(3),
    )


def full_entity(tenant_id: UUID, agent_id: UUID) -> Entity:
    return make_entity(
        tenant_id,
        agent_id,
        customer_profile_id=uuid4(),
        name=TEXT,
        attributes=JSON,
        embedding=[0.25],
        embedding_model="tiny-1",
        valid_to=at(9),
        recorded_at=at(1),
    )


def full_relationship(source: Entity, target: Entity) -> Relationship:
    return make_relationship(source, target, attributes=JSON, confidence=0.5, valid_to=at(9), recorded_at=at(1))


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
    return make_event(tenant_id, event_data=JSON, session_id=uuid4(), turn_id=uuid4(), timestamp=at(1))


def full_field(name: str = "cart") -> ProfileField:
    return make_field(
        name,
        JSON,
        value_type="object",
        source=ProfileFieldSource.TOOL_RESULT,
        source_session_id=uuid4(),
        source_scenario_id=uuid4(),
        source_step_id=uuid4(),
        source_item_id=uuid4(),
        source_metadata=JSON,
        verified=True,
        verification_method="call",
        verified_at=at(1),
        verified_by="ann",
        confidence=0.125,
        requires_confirmation=True,
        collected_at=at(2),
        updated_at=at(3),
        expires_at=at(4),
    )


def full_asset() -> ProfileAsset:
    return make_asset(
        name=TEXT,
        uploaded_at=at(1),
        uploaded_in_session_id=uuid4(),
        uploaded_in_scenario_id=uuid4(),
        source_item_id=uuid4(),
        derived_from_tool="ocr",
        status="expired",
        verified=True,
        verification_result=JSON,
        retention_policy="30 days",
        expires_at=at(2),
        analysis_field_ids=[uuid4()],
    )


def full_profile(tenant_id: UUID) -> CustomerProfile:
    identities = [
        make_identity(verified=True, verified_at=at(1), primary=True, linked_at=at(2)),
        make_identity(channel=Channel.WHATSAPP, channel_user_id=f"{TEXT} {uuid4()}"),
    ]
    consents = [
        Consent(
            consent_type="marketing",
            granted=False,
            granted_at=at(1),
            revoked_at=at(2),
            source_session_id=uuid4(),
            ip_address="2001:db8::1",
        )
    ]
    return make_profile(
        tenant_id,
        channel_identities=identities,
        fields={"cart": full_field(), "city": make_field()},
        assets=[full_asset(), make_asset()],
        consents=consents,
        verification_level=VerificationLevel.PHONE_VERIFIED,
        last_interaction_at=at(3),
    )
