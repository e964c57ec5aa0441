"""Episodes and the graph to test with."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from convostore.models import Entity, Episode, Relationship
from convostore.testing.factories.values import JSON, MOMENT, TEXT, at


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
