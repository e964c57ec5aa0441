"""The memory store on the table gateway."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from convostore.contracts.episode_search import Reranker
from convostore.contracts.memory import MemoryStore
from convostore.domain.declarations import ENTITY, EPISODE, RELATIONSHIP
from convostore.domain.fusion import CANDIDATES
from convostore.domain.text import Match, Name, Query, parse_query, read_name
from convostore.gateway import derived
from convostore.gateway.reordering import diverse, reranked
from convostore.gateway.table import Tables, Where, Window, valid_at
from convostore.models import Entity, Episode, SearchHit


class Filter(NamedTuple):
    """What searches and lists of an agent's episodes can be limited to; None means anything."""

    customer_profile_id: UUID | None = None
    session_id: UUID | None = None
    group_id: UUID | None = None
    content_type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    as_of: datetime | None = None

    def scope(self, agent_id: UUID) -> Where:
        """Return what the statistics of a text search are of, as columns and values."""
        return {
            "agent_id": agent_id,
            "customer_profile_id": self.customer_profile_id,
            "session_id": self.session_id,
            "group_id": self.group_id,
        }

    def where(self, agent_id: UUID) -> Where:
        """Return the same as columns and values."""
        return {
            **self.scope(agent_id),
            "content_type": self.content_type,
            "occurred_at": Window(self.since, self.until),
            **valid_at(self.as_of),
        }


class EntityFilter(NamedTuple):
    """The agent whose entities are searched, and what the search is limited to; None means anything."""

    agent_id: UUID
    entity_type: str | None
    customer_profile_id: UUID | None
    embedding_model: str | None
    as_of: datetime | None

    @property
    def where(self) -> Where:
        """The same as columns and values."""
        *equal, _ = self._fields
        return {**{name: getattr(self, name) for name in equal}, **valid_at(self.as_of)}


class Words(NamedTuple):
    """A text query, and the configuration that reads it: None for each episode's own."""

    query: Query
    language: str | None


class Meaning(NamedTuple):
    """A vector query: the vector, the least cosine similarity, and the model that made the vectors, or None for any."""

    embedding: list[float]
    min_score: float
    embedding_model: str | None


class Ranking(NamedTuple):
    """How much words and meaning count, recency (the half-life of a score by the age at a moment, or None), and context
    (the neighbours on each side that a score is lent to).
    """

    weights: tuple[float, float]
    half_life: timedelta | None
    at: datetime
    context: int


class TableMemoryStore(Tables, MemoryStore):
    """Everything but searches, traversal and what deletes more than one row."""

    add_episode = derived.add(EPISODE, MemoryStore.add_episode)
    add_episodes = derived.add_all(EPISODE, MemoryStore.add_episodes)
    get_episode = derived.get(EPISODE, MemoryStore.get_episode)
    delete_episode = derived.delete(EPISODE, MemoryStore.delete_episode)

    add_entity = derived.add(ENTITY, MemoryStore.add_entity)
    add_entities = derived.add_all(ENTITY, MemoryStore.add_entities)
    save_entity = derived.save(ENTITY, MemoryStore.save_entity)
    get_entity = derived.get(ENTITY, MemoryStore.get_entity)
    get_entities = derived.find(ENTITY, MemoryStore.get_entities)

    add_relationship = derived.add(RELATIONSHIP, MemoryStore.add_relationship)
    add_relationships = derived.add_all(RELATIONSHIP, MemoryStore.add_relationships)
    save_relationship = derived.save(RELATIONSHIP, MemoryStore.save_relationship)
    get_relationship = derived.get(RELATIONSHIP, MemoryStore.get_relationship)
    get_relationships = derived.find(RELATIONSHIP, MemoryStore.get_relationships)
    delete_relationship = derived.delete(RELATIONSHIP, MemoryStore.delete_relationship)

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
        self,
        tenant_id: UUID,
        agent_id: UUID,
        only: Filter,
        words: Words,
        meaning: Meaning,
        ranking: Ranking,
        limit: int,
        offset: int,
    ) -> list[SearchHit]:
        """Return the episodes that text or vector search finds, or context brings in, best first, then by id."""

    @abstractmethod
    async def _entities_by_name(
        self, tenant_id: UUID, only: EntityFilter, name: Name, min_score: float, limit: int, offset: int
    ) -> list[tuple[Entity, float]]:
        """Return the entities whose names match, with the scores of these, best first, then as lists are ordered."""

    @abstractmethod
    async def _entities_by_meaning(
        self, tenant_id: UUID, only: EntityFilter, name: Name | None, meaning: Meaning, limit: int, offset: int
    ) -> list[tuple[Entity, float]]:
        """Return the entities nearest to a vector with their scores, of those whose names match if there is one."""

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
        match: Match = "any",
        language: str | None = None,
        prefix: bool = False,
        limit: int = 10,
        offset: int = 0,
    ) -> list[Episode]:
        only = Filter(customer_profile_id, session_id, group_id, content_type, since, until, as_of)
        words = Words(parse_query(query, match=match, prefix=prefix), language)
        return await self._by_words(tenant_id, agent_id, only, words, limit, offset)

    async def search_episodes(self, *_: Any, **asked: Any) -> list[tuple[Episode, float]]:
        return [(hit.episode, hit.score) for hit in await self._hits(**asked)]

    async def explain_episodes(self, *_: Any, **asked: Any) -> list[SearchHit]:
        return await self._hits(**asked)

    async def _hits(
        self,
        *,
        query: str,
        query_embedding: list[float],
        tenant_id: UUID,
        agent_id: UUID,
        weights: tuple[float, float],
        half_life: timedelta | None,
        diversity: float,
        context: int,
        rerank: Reranker | None,
        language: str | None,
        prefix: bool,
        min_score: float,
        embedding_model: str | None,
        limit: int,
        offset: int,
        **only: Any,
    ) -> list[SearchHit]:
        words = Words(parse_query(query, prefix=prefix), language)
        meaning = Meaning(query_embedding, min_score, embedding_model)
        ranking = Ranking(weights, half_life, only["as_of"] or self._clock(), context)
        find = partial(self._by_both, tenant_id, agent_id, Filter(**only), words, meaning, ranking)
        if not (rerank or diversity):
            return await find(limit, offset)
        found = await find(max(offset + limit, CANDIDATES), 0)
        best = found[:CANDIDATES]
        if rerank and best:
            best = await reranked(query, best, rerank)
        if diversity:
            # 100 comparisons of vectors for each result would hold up the event loop.
            best = await asyncio.to_thread(diverse, best, diversity, offset + limit)
        page = [*best, *found[CANDIDATES:]][offset : offset + limit]
        return [hit.model_copy(update={"rank": rank}) for rank, hit in enumerate(page, offset + 1)]

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
        only = EntityFilter(agent_id, entity_type, customer_profile_id, embedding_model, as_of)
        asked = None if name is None else read_name(name)
        if query_embedding is not None:
            meaning = Meaning(query_embedding, min_score, embedding_model)
            return await self._entities_by_meaning(tenant_id, only, asked, meaning, limit, offset)
        if asked is not None:
            return await self._entities_by_name(tenant_id, only, asked, min_score, limit, offset)
        found = await self._table(ENTITY).find(tenant_id, only.where, limit=limit, offset=offset)
        return [(entity, 1.0) for entity in found]
