"""What an agent remembers: episodes, entities and the relationships between them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from convostore.models.base import FrozenModel, Model
from convostore.models.fields import (
    Count,
    Fraction,
    Identifier,
    JsonObject,
    Language,
    Text,
    TypeName,
    UtcDatetime,
    Vector,
    new_id,
    now,
    type_checked,
)

ContentType = Literal["message", "event", "document", "summary", "fact"]
EpisodeSource = Literal["user", "agent", "system", "external"]
EntityName = Annotated[str, StringConstraints(min_length=1, max_length=500), type_checked]


class Episode(Model):
    """Something that was said or happened. Whatever shares a `group_id` is forgotten together."""

    id: UUID = Field(default_factory=new_id)
    tenant_id: UUID
    agent_id: UUID
    customer_profile_id: UUID | None = None
    session_id: UUID | None = None
    group_id: UUID
    content: Text
    content_type: ContentType = "message"
    source: EpisodeSource = "user"
    language: Language = "simple"
    embedding: Vector | None = None
    embedding_model: Identifier | None = None
    importance: Fraction = 0.5
    entity_ids: list[UUID] = Field(default_factory=list)
    metadata: JsonObject = Field(default_factory=dict)
    occurred_at: UtcDatetime
    recorded_at: UtcDatetime = Field(default_factory=now)
    valid_from: UtcDatetime | None = None
    valid_to: UtcDatetime | None = None


class Entity(Model):
    """Somebody or something that episodes speak of."""

    stamps: ClassVar[tuple[str, ...]] = ("revision",)

    id: UUID = Field(default_factory=new_id)
    tenant_id: UUID
    agent_id: UUID
    customer_profile_id: UUID | None = None
    group_id: UUID
    name: EntityName
    entity_type: TypeName
    attributes: JsonObject = Field(default_factory=dict)
    embedding: Vector | None = None
    embedding_model: Identifier | None = None
    valid_from: UtcDatetime
    valid_to: UtcDatetime | None = None
    recorded_at: UtcDatetime = Field(default_factory=now)
    revision: Count = 0


class Relationship(Model):
    """A directed, typed fact about two entities of one tenant, true from `valid_from` until `valid_to`."""

    stamps: ClassVar[tuple[str, ...]] = ("revision",)

    id: UUID = Field(default_factory=new_id)
    tenant_id: UUID
    agent_id: UUID
    group_id: UUID
    from_entity_id: UUID
    to_entity_id: UUID
    relation_type: TypeName
    attributes: JsonObject = Field(default_factory=dict)
    confidence: Fraction = 1.0
    valid_from: UtcDatetime
    valid_to: UtcDatetime | None = None
    recorded_at: UtcDatetime = Field(default_factory=now)
    revision: Count = 0


class Neighbourhood(FrozenModel):
    """A part of the graph: relationships, and the entities at their ends, both nearest first."""

    entities: list[Entity] = Field(default_factory=list)
    relationships: list[Relationship] = Field(default_factory=list)
