"""The memory store above the waist."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from convostore.contracts.memory import MemoryStore
from convostore.domain.declarations import ENTITY, EPISODE, RELATIONSHIP, Declaration
from convostore.gateway.table import Table, Where, Window, valid_at
from convostore.models import Entity, Episode, Relationship
from convostore.models.base import Model

M = TypeVar("M", bound=Model)

MAX_QUERY = 10_000
"""How many characters of a text query count."""

RANK_CONSTANT = 60
"""What is added to each rank when lists are fused (Cormack, Clarke and Büttcher, SIGIR 2009)."""

FUSED = 100
"""How many results of each search are fused, at least."""


class Filter(NamedTuple):
    """What searches and lists of an agent's episodes can be limited to; None means anything."""

    customer_profile_id: UUID | None = None
    session_id: UUID | None = None
    group_id: UUID | None = None
    content_type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    as_of: datetime | None = None

    def where(self, agent_id: UUID) -> Where:
        """Return the same as columns and values."""
        return {
            "agent_id": agent_id,
            "customer_profile_id": self.customer_profile_id,
            "session_id": self.session_id,
            "group_id": self.group_id,
            "content_type": self.content_type,
            "occurred_at": Window(self.since, self.until),
            **valid_at(self.as_of),
        }


class Words(NamedTuple):
    """A text query: a web search, the configuration that reads it, and whether its last word may be incomplete."""

    query: str
    language: str
    prefix: bool


class Meaning(NamedTuple):
    """A vector query: the vector, the least cosine similarity, and the model that made the vectors, or None for any."""

    embedding: list[float]
    min_score: float
    embedding_model: str | None


class TableMemoryStore(MemoryStore):
    """Everything but searches, traversal and what deletes more than one row."""

    @abstractmethod
    def _table(self, declaration: Declaration[M]) -> Table[M]:
        """Return the table of an entity."""

    @abstractmethod
    async def _by_words(
        self, tenant_id: UUID, agent_id: UUID, only: Filter, words: Words, limit: int, offset: int
    ) -> list[Episode]:
        """Return the episodes that match a text query, best first."""

    @abstractmethod
    async def _by_meaning(
        self, tenant_id: UUID, agent_id: UUID, only: Filter, meaning: Meaning, limit: int, offset: int
    ) -> list[tuple[Episode, float]]:
        """Return the episodes nearest to a vector with their scores."""

    @abstractmethod
    async def _by_both(
        self, tenant_id: UUID, agent_id: UUID, only: Filter, words: Words, meaning: Meaning, limit: int, offset: int
    ) -> list[tuple[Episode, float]]:
        """Return the episodes that text or vector search finds, with their fused scores, best first."""

    @abstractmethod
    async def _entities_by_meaning(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        where: Where,
        as_of: datetime | None,
        meaning: Meaning,
        limit: int,
        offset: int,
    ) -> list[tuple[Entity, float]]:
        """Return the entities with this name, type and customer, each None for any, nearest first."""

    async def add_episode(self, episode: Episode) -> UUID:
        await self._table(EPISODE).add(episode)
        return episode.id

    async def add_episodes(self, episodes: list[Episode]) -> list[UUID]:
        await self._table(EPISODE).add_all(episodes)
        return [episode.id for episode in episodes]

    async def get_episode(self, tenant_id: UUID, episode_id: UUID) -> Episode | None:
        return await self._table(EPISODE).get(tenant_id, id=episode_id)

    async def get_episodes(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        customer_profile_id: UUID | None = None,
        session_id: UUID | None = None,
        group_id: UUID | None = None,
        content_type: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        limit: int | None = None,
        offset: int = 0,
        after: Episode | None = None,
    ) -> list[Episode]:
        only = Filter(customer_profile_id, session_id, group_id, content_type, since, until, as_of)
        return await self._table(EPISODE).find(tenant_id, only.where(agent_id), limit=limit, offset=offset, after=after)

    async def vector_search_episodes(
        self,
        query_embedding: list[float],
        tenant_id: UUID,
        agent_id: UUID,
        *,
        customer_profile_id: UUID | None = None,
        limit: int = 10,
        offset: int = 0,
        min_score: float = 0.0,
        embedding_model: str | None = None,
        session_id: UUID | None = None,
        group_id: UUID | None = None,
        content_type: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
    ) -> list[tuple[Episode, float]]:
        only = Filter(customer_profile_id, session_id, group_id, content_type, since, until, as_of)
        meaning = Meaning(query_embedding, min_score, embedding_model)
        return await self._by_meaning(tenant_id, agent_id, only, meaning, limit, offset)

    async def text_search_episodes(
        self,
        query: str,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        customer_profile_id: UUID | None = None,
        session_id: UUID | None = None,
        group_id: UUID | None = None,
        content_type: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        language: str = "simple",
        prefix: bool = False,
        limit: int = 10,
        offset: int = 0,
    ) -> list[Episode]:
        only = Filter(customer_profile_id, session_id, group_id, content_type, since, until, as_of)
        words = Words(query[:MAX_QUERY], language, prefix)
        return await self._by_words(tenant_id, agent_id, only, words, limit, offset)

    async def search_episodes(
        self,
        query: str,
        query_embedding: list[float],
        tenant_id: UUID,
        agent_id: UUID,
        *,
        customer_profile_id: UUID | None = None,
        session_id: UUID | None = None,
        group_id: UUID | None = None,
        content_type: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        language: str = "simple",
        prefix: bool = False,
        min_score: float = 0.0,
        embedding_model: str | None = None,
        limit: int = 10,
        offset: int = 0,
    ) -> list[tuple[Episode, float]]:
        only = Filter(customer_profile_id, session_id, group_id, content_type, since, until, as_of)
        words, meaning = (
            Words(query[:MAX_QUERY], language, prefix),
            Meaning(query_embedding, min_score, embedding_model),
        )
        return await self._by_both(tenant_id, agent_id, only, words, meaning, limit, offset)

    async def delete_episode(self, tenant_id: UUID, episode_id: UUID) -> bool:
        return await self._table(EPISODE).delete(tenant_id, id=episode_id)

    async def add_entity(self, entity: Entity) -> UUID:
        await self._table(ENTITY).add(entity)
        return entity.id

    async def add_entities(self, entities: list[Entity]) -> list[UUID]:
        await self._table(ENTITY).add_all(entities)
        return [entity.id for entity in entities]

    async def save_entity(self, entity: Entity, *, overwrite: bool = False) -> UUID:
        await self._table(ENTITY).save(entity, overwrite=overwrite)
        return entity.id

    async def get_entity(self, tenant_id: UUID, entity_id: UUID) -> Entity | None:
        return await self._table(ENTITY).get(tenant_id, id=entity_id)

    async def get_entities(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        entity_type: str | None = None,
        customer_profile_id: UUID | None = None,
        as_of: datetime | None = None,
        limit: int | None = None,
        offset: int = 0,
        after: Entity | None = None,
    ) -> list[Entity]:
        where = {
            "agent_id": agent_id,
            "entity_type": entity_type,
            "customer_profile_id": customer_profile_id,
            **valid_at(as_of),
        }
        return await self._table(ENTITY).find(tenant_id, where, limit=limit, offset=offset, after=after)

    async def find_entities(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        name: str | None = None,
        entity_type: str | None = None,
        query_embedding: list[float] | None = None,
        embedding_model: str | None = None,
        customer_profile_id: UUID | None = None,
        as_of: datetime | None = None,
        limit: int = 10,
        offset: int = 0,
        min_score: float = 0.0,
    ) -> list[tuple[Entity, float]]:
        where: dict[str, Any] = {
            "name": name,
            "entity_type": entity_type,
            "customer_profile_id": customer_profile_id,
        }
        if query_embedding is not None:
            meaning = Meaning(query_embedding, min_score, embedding_model)
            return await self._entities_by_meaning(tenant_id, agent_id, where, as_of, meaning, limit, offset)
        where |= {"agent_id": agent_id, "embedding_model": embedding_model}
        found = await self._table(ENTITY).find(tenant_id, {**where, **valid_at(as_of)}, limit=limit, offset=offset)
        return [(entity, 1.0) for entity in found]

    async def add_relationship(self, relationship: Relationship) -> UUID:
        await self._table(RELATIONSHIP).add(relationship)
        return relationship.id

    async def add_relationships(self, relationships: list[Relationship]) -> list[UUID]:
        await self._table(RELATIONSHIP).add_all(relationships)
        return [relationship.id for relationship in relationships]

    async def save_relationship(self, relationship: Relationship, *, overwrite: bool = False) -> UUID:
        await self._table(RELATIONSHIP).save(relationship, overwrite=overwrite)
        return relationship.id

    async def get_relationship(self, tenant_id: UUID, relationship_id: UUID) -> Relationship | None:
        return await self._table(RELATIONSHIP).get(tenant_id, id=relationship_id)

    async def get_relationships(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        relation_type: str | None = None,
        from_entity_id: UUID | None = None,
        to_entity_id: UUID | None = None,
        as_of: datetime | None = None,
        limit: int | None = None,
        offset: int = 0,
        after: Relationship | None = None,
    ) -> list[Relationship]:
        where = {
            "agent_id": agent_id,
            "relation_type": relation_type,
            "from_entity_id": from_entity_id,
            "to_entity_id": to_entity_id,
            **valid_at(as_of),
        }
        return await self._table(RELATIONSHIP).find(tenant_id, where, limit=limit, offset=offset, after=after)

    async def delete_relationship(self, tenant_id: UUID, relationship_id: UUID) -> bool:
        return await self._table(RELATIONSHIP).delete(tenant_id, id=relationship_id)
