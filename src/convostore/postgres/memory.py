"""The memory store on PostgreSQL with pgvector."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from convostore.call.call import current_call
from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.domain.declarations import ENTITY, EPISODE, RELATIONSHIP
from convostore.domain.fusion import CANDIDATES
from convostore.domain.text import Name
from convostore.errors import ConflictError
from convostore.gateway.memory import EntityFilter, Filter, Meaning, Ranking, TableMemoryStore, Words
from convostore.models import Entity, Episode, Neighbourhood, Relationship, SearchHit
from convostore.models.fields import Language, now
from convostore.postgres.hybrid import PARTS, fused
from convostore.postgres.pool import encode_vector
from convostore.postgres.queries import queries
from convostore.postgres.store import PostgresStore
from convostore.postgres.transaction import in_transaction
from convostore.postgres.vector_statements import EPISODES
from convostore.postgres.vectors import Search, VectorSearch, count_search


class PostgresMemoryStore(PostgresStore, TableMemoryStore):
    """Episodes and the graph on PostgreSQL."""

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        *,
        timeout: float = DEFAULT_TIMEOUT,
        clock: Callable[[], datetime] = now,
        language: Language = "simple",
        coalesce: bool = True,
    ) -> None:
        super().__init__(pool, timeout=timeout, clock=clock, coalesce=coalesce, language=language)
        self._nearest = VectorSearch(EPISODES, self._database)

    async def _by_meaning(
        self, tenant_id: UUID, agent_id: UUID, only: Filter, meaning: Meaning, limit: int, offset: int
    ) -> list[tuple[Episode, float]]:
        filters = {"agent_id": agent_id, **only._asdict(), "embedding_model": meaning.embedding_model}
        return await self._nearest(tenant_id, meaning.embedding, filters, limit, offset, meaning.min_score)

    async def get_episodes_to_embed(
        self, tenant_id: UUID, embedding_model: str, *, after: UUID | None = None, limit: int = 100
    ) -> list[Episode]:
        query = queries("spaces").episodes_to_embed(
            tenant_id=tenant_id, embedding_model=embedding_model, after_id=after, limit=limit
        )
        # Unlike other lists this one does not go on without an episode: nobody could switch models without it.
        rows = await self._database.fetch(*query)
        return [self._table(EPISODE).mapping.model(row, tenant_id) for row in rows]

    async def add_embeddings(self, tenant_id: UUID, embedding_model: str, embeddings: dict[UUID, list[float]]) -> int:
        # Rows are locked in the order of their keys, so that concurrent calls cannot deadlock.
        ids = sorted(embeddings)
        vectors = [encode_vector(embeddings[item]) for item in ids]
        if await self._database.is_distributed():
            episodes = {"tenant_id": tenant_id, "embedding_model": embedding_model, "episode_ids": ids}
            async with in_transaction(self._database) as database:
                await database.fetch(*queries("spaces").lock_embedded(**episodes))
                store = queries("spaces").store_embeddings(**episodes, embeddings=vectors)
                return len(await database.fetch(*store))
        query = queries("spaces").add_embeddings(
            tenant_id=tenant_id, embedding_model=embedding_model, episode_ids=ids, embeddings=vectors
        )
        count: int = await self._database.fetchval(*query)
        return count

    async def switch_embeddings(self, tenant_id: UUID, embedding_model: str) -> int:
        query = queries("spaces").switch_embeddings(tenant_id=tenant_id, embedding_model=embedding_model)
        count: int | None = await self._database.fetchval(*query)
        if count is None:
            raise ConflictError("episode: not every embedding has one of the model beside it")
        return count

    async def _by_words(
        self, tenant_id: UUID, agent_id: UUID, only: Filter, words: Words, limit: int, offset: int
    ) -> list[Episode]:
        query = queries("memory").text_search_episodes(
            tenant_id=tenant_id,
            agent_id=agent_id,
            query=str(words.query),
            terms=[*map(str, words.query.terms)],
            every=words.query.match == "all",
            language=words.language,
            **only._asdict(),
            limit=limit,
            offset=offset,
        )
        return list(self._table(EPISODE).mapping.models(await self._database.fetch(*query), tenant_id))

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
        most = max(offset + limit, CANDIDATES)
        filters = {"agent_id": agent_id, **only._asdict(), "embedding_model": meaning.embedding_model}
        search, rows = await self._nearest.run(
            tenant_id,
            meaning.embedding,
            filters,
            most,
            0,
            meaning.min_score,
            lambda search: fusing(search, words, ranking, limit, offset),
        )
        parts = {row["id"]: {name: row[name] for name in PARTS} for row in rows}
        return [
            SearchHit.model_construct(episode=episode, rank=rank, score=score, **parts[episode.id])
            for rank, (episode, score) in enumerate(self._nearest.found(search, rows), offset + 1)
        ]

    async def _entities_by_name(
        self, tenant_id: UUID, only: EntityFilter, name: Name, min_score: float, limit: int, offset: int
    ) -> list[tuple[Entity, float]]:
        return await self._found_entities(tenant_id, only, name, None, min_score, limit, offset)

    async def _entities_by_meaning(
        self, tenant_id: UUID, only: EntityFilter, name: Name | None, meaning: Meaning, limit: int, offset: int
    ) -> list[tuple[Entity, float]]:
        asked = (meaning.embedding, meaning.min_score, limit, offset)
        found = await self._found_entities(tenant_id, only, name, *asked)
        count_search("exact")
        return found

    async def _found_entities(
        self,
        tenant_id: UUID,
        only: EntityFilter,
        name: Name | None,
        embedding: list[float] | None,
        min_score: float,
        limit: int,
        offset: int,
    ) -> list[tuple[Entity, float]]:
        query = queries("memory").find_entities(
            tenant_id=tenant_id,
            **only._asdict(),
            **names(name),
            embedding=embedding,
            min_score=min_score,
            limit=limit,
            offset=offset,
        )
        return self._table(ENTITY).mapping.scored(await self._database.fetch(*query), tenant_id)

    async def traverse_from_entities(
        self,
        tenant_id: UUID,
        entity_ids: list[UUID],
        *,
        relationship_types: list[str] | None = None,
        max_depth: int = 2,
        as_of: datetime | None = None,
    ) -> list[Relationship]:
        query = queries("memory").traverse(
            tenant_id=tenant_id,
            entity_ids=entity_ids,
            relation_types=relationship_types,
            as_of=as_of or self._clock(),
            max_depth=max_depth,
            with_entities=False,
        )
        mapping = self._table(RELATIONSHIP).mapping
        rows = await self._database.fetch(*query)
        return list(mapping.models((row["relationship"] for row in rows), tenant_id))

    async def neighbourhood(
        self,
        tenant_id: UUID,
        entity_ids: list[UUID],
        *,
        relationship_types: list[str] | None = None,
        max_depth: int = 1,
        as_of: datetime | None = None,
    ) -> Neighbourhood:
        query = queries("memory").traverse(
            tenant_id=tenant_id,
            entity_ids=entity_ids,
            relation_types=relationship_types,
            as_of=as_of or self._clock(),
            max_depth=max_depth,
            with_entities=True,
        )
        rows = await self._database.fetch(*query)
        entity, edge = self._table(ENTITY).mapping, self._table(RELATIONSHIP).mapping
        return Neighbourhood.model_construct(
            entities=list(entity.models((row["entity"] for row in rows if row["entity"]), tenant_id)),
            relationships=list(edge.models((row["relationship"] for row in rows if row["relationship"]), tenant_id)),
        )

    async def invalidate_relationship(
        self, tenant_id: UUID, relationship_id: UUID, *, at: datetime | None = None
    ) -> bool:
        query = queries("memory").invalidate_relationship(
            tenant_id=tenant_id,
            relationship_id=relationship_id,
            valid_to=at or self._clock(),
            write_id=current_call().write_id,
        )
        found: bool = await self._database.fetchval(*query)
        return found

    async def delete_entity(self, tenant_id: UUID, entity_id: UUID) -> bool:
        query = queries("memory").delete_entity(tenant_id=tenant_id, entity_id=entity_id)
        deleted: int = await self._database.fetchval(*query)
        return deleted > 0

    async def delete_by_group(self, tenant_id: UUID, group_id: UUID) -> int:
        query = queries("memory").delete_by_group(tenant_id=tenant_id, group_id=group_id)
        deleted: int = await self._database.fetchval(*query)
        return deleted

    async def delete_by_customer(self, tenant_id: UUID, customer_profile_id: UUID) -> int:
        query = queries("memory").delete_by_customer(tenant_id=tenant_id, customer_profile_id=customer_profile_id)
        deleted: int = await self._database.fetchval(*query)
        return deleted


def fusing(search: Search, words: Words, ranking: Ranking, limit: int, offset: int = 0) -> tuple[Any, ...]:
    """Return the statement of a hybrid search with this vector search, with its arguments."""
    share = ranking.weights[0] / sum(ranking.weights)
    asked = (str(words.query), [*map(str, words.query.terms)], words.language, share, ranking.half_life, ranking.at)
    context = (ranking.context,) if ranking.context else ()
    return fused(search, context=bool(context)), *search.arguments, *asked, limit, offset, *context


def names(asked: Name | None) -> dict[str, Any]:
    """Return what stored names are compared with: the name as one word, its words, and patterns of these."""
    if asked is None:
        return {"key": None, "words": None, "patterns": None}
    return {"key": asked.key, "words": [*asked.asked], "patterns": [f"% {word}%" for word in asked.asked]}
