"""What an agent remembers: episodes, entities and the relationships between them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, FiniteFloat, StringConstraints

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
    valid_text,
)

ContentType = Literal["message", "event", "document", "summary", "fact"]
"""The kind of content of an episode."""

EpisodeSource = Literal["user", "agent", "system", "external"]
"""Who or what an episode comes from."""

EntityName = Annotated[str, StringConstraints(min_length=1, max_length=500), valid_text]
"""The name of an entity of the graph: 1 to 500 characters."""


class Episode(Model):
    """Something that was said or happened."""

    defaulted: ClassVar[tuple[str, ...]] = ("language",)

    id: UUID = Field(default_factory=new_id)
    """Primary key within the tenant; a UUID of version 7 if omitted."""
    tenant_id: UUID
    """Tenant that owns the episode; no other tenant can read or change it."""
    agent_id: UUID
    """Agent that remembers the episode; not checked to exist."""
    customer_profile_id: UUID | None = None
    """Profile of the customer concerned, not checked to exist; None for no customer."""
    session_id: UUID | None = None
    """Session that the episode comes from, not checked to exist; None for no session."""
    group_id: UUID
    """Group of episodes, entities and relationships that `delete_by_group` deletes together."""
    content: Text
    """What was said or happened, at most 1 MiB; full text search covers the first 250,000 characters."""
    content_type: ContentType = "message"
    """Kind of content; lists and searches filter by it."""
    source: EpisodeSource = "user"
    """Who or what the content comes from."""
    language: Language | None = None
    """PostgreSQL text search configuration that stems the content and drops its stop words; `simple` does neither. None
    gets the store's default, and equals any stored language when the episode is added again."""
    embedding: Vector | None = None
    """Embedding, 1 to 4,000 float32 numbers; None keeps the episode out of vector search."""
    embedding_model: Identifier | None = None
    """Model that produced the embedding, 1 to 200 characters; None if unknown."""
    importance: Fraction = 0.5
    """Importance for the caller, 0 to 1; searches do not rank by it."""
    entity_ids: list[UUID] = Field(default_factory=list)
    """Entities that the content mentions; not checked to exist."""
    metadata: JsonObject = Field(default_factory=dict)
    """JSON object of the caller, at most 1 MiB, which no store interprets."""
    occurred_at: UtcDatetime
    """Time at which it was said or happened (UTC); lists and searches filter by it."""
    recorded_at: UtcDatetime = Field(default_factory=now)
    """Transaction time (UTC): when the store learned of it, now if omitted. Lists are ordered by it, newest first."""
    valid_from: UtcDatetime | None = None
    """Start of the valid time (UTC), inclusive; None for no start."""
    valid_to: UtcDatetime | None = None
    """End of the valid time (UTC), exclusive; None for no end."""


class SearchHit(FrozenModel):
    """An episode that hybrid search found, and how its score came about.

    Without a reranker the score is `(text_part + vector_part) * recency + context_part`, to six decimals.
    """

    episode: Episode
    """Episode that was found, as it is stored."""
    rank: Count
    """Place among all that was found, from 1."""
    score: FiniteFloat
    """Score that the results are ordered by; `diversity` changes the order alone."""
    text_score: FiniteFloat | None = None
    """BM25 score; None if the words did not find the episode, or not among the candidates."""
    text_rank: Count | None = None
    """Place among what the words found, from 1; None as above."""
    vector_score: FiniteFloat | None = None
    """Cosine similarity; None without an embedding of the query's space, and for what neighbours alone brought in."""
    vector_rank: Count | None = None
    """Place among what the vector found, from 1; None if it did not, or not among the candidates."""
    text_part: Fraction = 0.0
    """Part of the score that is due to words, 0 to 1: the square of `text_score` as a part of the best, times how sure
    the text search is and the weight of words."""
    vector_part: Fraction = 0.0
    """Part of the score that is due to meaning, 0 to 1: the square of `vector_score` between 0, the lowest, and 1, the
    highest, times the highest and the weight of meaning."""
    recency: Fraction = 1.0
    """What the two parts are worth at the episode's age, 0 to 1; 1 without `half_life`."""
    context_part: FiniteFloat = 0.0
    """What the neighbours in the session lend; 0 without `context`."""
    rerank_score: FiniteFloat | None = None
    """Number that the reranker gave; None without one, if it failed, and behind the 100 that it is given."""


class Entity(Model):
    """A person, thing or concept that episodes mention: a node of the graph."""

    store_managed: ClassVar[tuple[str, ...]] = ("revision",)

    id: UUID = Field(default_factory=new_id)
    """Primary key within the tenant; a UUID of version 7 if omitted."""
    tenant_id: UUID
    """Tenant that owns the entity; no other tenant can read or change it."""
    agent_id: UUID
    """Agent that remembers the entity; not checked to exist."""
    customer_profile_id: UUID | None = None
    """Profile of the customer concerned, not checked to exist; None for no customer."""
    group_id: UUID
    """Group of episodes, entities and relationships that `delete_by_group` deletes together."""
    name: EntityName
    """Name by which `find_entities` finds the entity, not necessarily unique; 1 to 500 characters."""
    entity_type: TypeName
    """Type of the entity, chosen by the caller, 1 to 100 characters; lists and searches filter by it."""
    attributes: JsonObject = Field(default_factory=dict)
    """Properties of the entity, a JSON object of at most 1 MiB, which no store interprets."""
    embedding: Vector | None = None
    """Embedding, 1 to 4,000 float32 numbers; None keeps the entity out of vector search."""
    embedding_model: Identifier | None = None
    """Model that produced the embedding, 1 to 200 characters; None if unknown."""
    valid_from: UtcDatetime
    """Start of the valid time (UTC), inclusive."""
    valid_to: UtcDatetime | None = None
    """End of the valid time (UTC), exclusive; None for no end."""
    recorded_at: UtcDatetime = Field(default_factory=now)
    """Transaction time (UTC): when the store learned of it, now if omitted. Lists are ordered by it, newest first."""
    revision: Count = 0
    """Revision for optimistic concurrency: 0 if never stored, incremented by the store on every save."""


class Relationship(Model):
    """A directed, typed fact about two entities: an edge of the graph."""

    store_managed: ClassVar[tuple[str, ...]] = ("revision",)

    id: UUID = Field(default_factory=new_id)
    """Primary key within the tenant; a UUID of version 7 if omitted."""
    tenant_id: UUID
    """Tenant that owns the relationship; no other tenant can read or change it."""
    agent_id: UUID
    """Agent that remembers the relationship; not checked to exist."""
    group_id: UUID
    """Group of episodes, entities and relationships that `delete_by_group` deletes together."""
    from_entity_id: UUID
    """Entity at which the edge starts; must exist under the same tenant."""
    to_entity_id: UUID
    """Entity at which the edge ends; must exist under the same tenant."""
    relation_type: TypeName
    """Type of the relationship, chosen by the caller, 1 to 100 characters; lists and walks filter by it."""
    attributes: JsonObject = Field(default_factory=dict)
    """Properties of the relationship, a JSON object of at most 1 MiB, which no store interprets."""
    confidence: Fraction = 1.0
    """Confidence that the fact is true, 0 to 1; searches do not rank by it."""
    valid_from: UtcDatetime
    """Start of the valid time (UTC), inclusive."""
    valid_to: UtcDatetime | None = None
    """End of the valid time (UTC), exclusive; None for no end. `invalidate_relationship` sets it."""
    recorded_at: UtcDatetime = Field(default_factory=now)
    """Transaction time (UTC): when the store learned of it, now if omitted. Lists are ordered by it, newest first."""
    revision: Count = 0
    """Revision for optimistic concurrency: 0 if never stored, incremented by the store on every save."""


class Neighbourhood(FrozenModel):
    """The part of the graph around some entities."""

    entities: list[Entity] = Field(default_factory=list)
    """Entities that the walk starts from and reaches, nearest first."""
    relationships: list[Relationship] = Field(default_factory=list)
    """Relationships that the walk follows, each once, nearest first."""
