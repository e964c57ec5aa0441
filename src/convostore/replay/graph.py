"""The graph of a conversation: the customer, the order, and its products."""

from __future__ import annotations

from uuid import UUID

from pydantic import JsonValue

from convostore.models import Entity, Relationship
from convostore.replay.ids import Ids
from convostore.replay.records import ConversationRecord


def graph(
    record: ConversationRecord, ids: Ids, tenant_id: UUID, profile_id: UUID
) -> tuple[list[Entity], list[Relationship]]:
    """Return the entities, the customer first, and the relationships from the customer on.

    Args:
        record: the conversation.
        ids: derives the tenant's ids.
        tenant_id: the tenant.
        profile_id: the customer's profile.
    """
    agent_id, session_id = ids("agent", record.agent), ids("session", record.agent, record.key)

    def entity(kind: str, name: str, attributes: dict[str, JsonValue]) -> Entity:
        return Entity(
            id=ids("entity", session_id, kind, name),
            tenant_id=tenant_id,
            agent_id=agent_id,
            customer_profile_id=profile_id,
            group_id=session_id,
            name=name,
            entity_type=kind,
            attributes=attributes,
            valid_from=record.started_at,
            recorded_at=record.started_at,
        )

    def relationship(one: Entity, relation: str, other: Entity) -> Relationship:
        return Relationship(
            id=ids("relationship", one.id, relation, other.id),
            tenant_id=tenant_id,
            agent_id=agent_id,
            group_id=session_id,
            from_entity_id=one.id,
            to_entity_id=other.id,
            relation_type=relation,
            valid_from=record.started_at,
            recorded_at=record.started_at,
        )

    customer = entity("customer", record.user, {"channel": record.channel})
    entities, relationships = [customer], []
    owner, relation = customer, "asked_about"
    if "order_id" in record.order:
        order = entity("order", record.order["order_id"], {**record.order})
        entities.append(order)
        relationships.append(relationship(customer, "placed", order))
        owner, relation = order, "contains"
    for item in {item.name: item for item in record.products}.values():
        product = entity("product", item.name, {} if item.amount is None else {"amount": item.amount})
        entities.append(product)
        relationships.append(relationship(owner, relation, product))
    return entities, relationships
