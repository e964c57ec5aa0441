"""The memory store in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import UUID

from convostore.call.call import current_call
from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.domain.declaration import Declaration
from convostore.domain.declarations import ENTITY, EPISODE, RELATIONSHIP
from convostore.domain.fusion import CANDIDATES, fused, neighbours_in, with_context, with_recency
from convostore.domain.revisions import set_managed
from convostore.domain.text import Name, Ranked, document, ranked, read_name
from convostore.errors import ConflictError
from convostore.gateway.memory import EntityFilter, Filter, Meaning, Ranking, TableMemoryStore, Words
from convostore.gateway.table import Where, valid_at
from convostore.inmemory.base import InMemoryStore
from convostore.inmemory.search import nearest
from convostore.inmemory.table import copied
from convostore.models import Entity, Episode, Neighbourhood, Relationship, SearchHit
from convostore.models.fields import Language, now


class InMemoryMemoryStore(InMemoryStore, TableMemoryStore):
    """Episodes and the graph in memory. Text search reads every language as `simple`."""

    def __init__(
        self,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        clock: Callable[[], datetime] = now,
        language: Language = "simple",
    ) -> None:
        super().__init__(timeout=timeout, clock=clock, language=language)
        self._beside: dict[tuple[UUID, UUID], tuple[Episode, dict[str, list[float]]]] = {}

    async def _by_meaning(
        self, tenant_id: UUID, agent_id: UUID, only: Filter, meaning: Meaning, limit: int, offset: int
    ) -> list[tuple[Episode, float]]:
        episodes = [
            episode
            for row in self._table(EPISODE).living(tenant_id, only.where(agent_id))
            if (episode := self._embedded(row.item, meaning.embedding_model))
        ]
        return nearest(meaning.embedding, episodes, meaning.min_score)[offset : offset + limit]

    async def get_episodes_to_embed(
        self, tenant_id: UUID, embedding_model: str, *, after: UUID | None = None, limit: int = 100
    ) -> list[Episode]:
        episodes = [
            row.item
            for row in self._table(EPISODE).living(tenant_id, {})
            if self._lacks(row.item, embedding_model) and (after is None or row.item.id > after)
        ]
        return [copied(episode) for episode in sorted(episodes, key=lambda episode: episode.id)[:limit]]

    async def add_embeddings(self, tenant_id: UUID, embedding_model: str, embeddings: dict[UUID, list[float]]) -> int:
        episodes = [
            row.item
            for row in self._table(EPISODE).living(tenant_id, {})
            if row.item.id in embeddings and row.item.embedding_model != embedding_model
        ]
        for episode in episodes:
            beside = self._beside.get((tenant_id, episode.id))
            if beside is None or beside[0] is not episode:
                beside = self._beside[tenant_id, episode.id] = (episode, {})
            beside[1][embedding_model] = list(embeddings[episode.id])
        return len(episodes)

    async def switch_embeddings(self, tenant_id: UUID, embedding_model: str) -> int:
        rows = list(self._table(EPISODE).living(tenant_id, {}))
        if any(self._lacks(row.item, embedding_model) for row in rows):
            raise ConflictError("episode: not every embedding has one of the model beside it")
        switched = [row for row in rows if embedding_model in self._beside_of(row.item)]
        for row in switched:
            beside = self._beside_of(row.item)
            own = {"embedding": beside.pop(embedding_model), "embedding_model": embedding_model}
            row.item = row.item.model_copy(update=own)
            self._beside[tenant_id, row.item.id] = (row.item, beside)
        return len(switched)

    async def _by_words(
        self, tenant_id: UUID, agent_id: UUID, only: Filter, words: Words, limit: int, offset: int
    ) -> list[Episode]:
        found = self._scored(tenant_id, agent_id, only, words).found[offset : offset + limit]
        stored = self._episodes(tenant_id, only.where(agent_id))
        return [copied(stored[key]) for key, _ in found]

    def _scored(self, tenant_id: UUID, agent_id: UUID, only: Filter, words: Words) -> Ranked[UUID]:
        """Return the ids of the episodes that match a text query with their scores, best first, then by id."""
        scope = self._episodes(tenant_id, {**only.scope(agent_id), "language": words.language})
        documents = {key: document(episode.content) for key, episode in scope.items()}
        asked = self._episodes(tenant_id, only.where(agent_id)).keys() & scope.keys()
        found = ranked(words.query, {key: documents[key] for key in asked}, documents.values())
        return found._replace(found=[pair for pair in found.found if pair[1] or words.query.match == "all"])

    def _episodes(self, tenant_id: UUID, where: Where) -> dict[UUID, Episode]:
        return {row.item.id: row.item for row in self._table(EPISODE).living(tenant_id, where)}

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
        near = await self._by_meaning(tenant_id, agent_id, only, meaning, most, 0)
        found, share = self._scored(tenant_id, agent_id, only, words)
        matching = found[:most]
        stored = self._episodes(tenant_id, only.where(agent_id))
        embedded = [self._embedded(stored[key], meaning.embedding_model) for key, _ in matching]
        similarities = {item.id: score for item, score in nearest(meaning.embedding, filter(None, embedded), -1.0)}
        parts = fused(matching, [(item.id, score) for item, score in near], similarities, ranking.weights, share=share)
        if ranking.half_life:
            occurred_at = {key: stored[key].occurred_at for key in parts}
            parts = with_recency(parts, occurred_at, ranking.at, ranking.half_life)
        if ranking.context:
            parts = with_context(parts, neighbours_in(_sessions(stored), ranking.context))
        best = sorted(parts, key=lambda key: (-parts[key].score, key))[offset : offset + limit]
        return [
            SearchHit.model_construct(
                episode=copied(stored[key]), rank=rank, score=parts[key].score, **asdict(parts[key])
            )
            for rank, key in enumerate(best, offset + 1)
        ]

    async def _entities_by_name(
        self, tenant_id: UUID, only: EntityFilter, name: Name, min_score: float, limit: int, offset: int
    ) -> list[tuple[Entity, float]]:
        listed = await self._table(ENTITY).find(tenant_id, only.where)
        scored = [(entity, name.score(read_name(entity.name))) for entity in listed]
        found = [(entity, score) for entity, score in scored if score and score >= min_score]
        return sorted(found, key=lambda pair: -pair[1])[offset : offset + limit]

    async def _entities_by_meaning(
        self, tenant_id: UUID, only: EntityFilter, name: Name | None, meaning: Meaning, limit: int, offset: int
    ) -> list[tuple[Entity, float]]:
        entities = [
            row.item
            for row in self._table(ENTITY).living(tenant_id, only.where)
            if name is None or name.score(read_name(row.item.name))
        ]
        return nearest(meaning.embedding, entities, meaning.min_score)[offset : offset + limit]

    async def delete_entity(self, tenant_id: UUID, entity_id: UUID) -> bool:
        if not await self._table(ENTITY).delete(tenant_id, id=entity_id):
            return False
        await self._delete_touching(tenant_id, {entity_id})
        return True

    async def delete_by_group(self, tenant_id: UUID, group_id: UUID) -> int:
        return await self._delete_all(tenant_id, [EPISODE, ENTITY, RELATIONSHIP], {"group_id": group_id})

    async def delete_by_customer(self, tenant_id: UUID, customer_profile_id: UUID) -> int:
        return await self._delete_all(tenant_id, [EPISODE, ENTITY], {"customer_profile_id": customer_profile_id})

    async def invalidate_relationship(
        self, tenant_id: UUID, relationship_id: UUID, *, at: datetime | None = None
    ) -> bool:
        moment = at or self._clock()
        row = next(self._table(RELATIONSHIP).living(tenant_id, {"id": relationship_id}), None)
        if row is None:
            return False
        if row.item.valid_to is None or row.item.valid_to > moment:
            set_managed(row.item, valid_to=moment, revision=row.item.revision + 1)
        return True

    async def traverse_from_entities(
        self,
        tenant_id: UUID,
        entity_ids: list[UUID],
        *,
        relationship_types: list[str] | None = None,
        max_depth: int = 2,
        as_of: datetime | None = None,
    ) -> list[Relationship]:
        found, _ = self._walk(tenant_id, entity_ids, relationship_types, max_depth, as_of)
        return [copied(edge) for edge in found]

    async def neighbourhood(
        self,
        tenant_id: UUID,
        entity_ids: list[UUID],
        *,
        relationship_types: list[str] | None = None,
        max_depth: int = 1,
        as_of: datetime | None = None,
    ) -> Neighbourhood:
        edges, depths = self._walk(tenant_id, entity_ids, relationship_types, max_depth, as_of)
        entities = [row.item for row in self._table(ENTITY).living(tenant_id, {}) if row.item.id in depths]
        entities.sort(key=lambda entity: (depths[entity.id], entity.recorded_at, entity.id))
        return Neighbourhood.model_construct(
            entities=[copied(entity) for entity in entities], relationships=[copied(edge) for edge in edges]
        )

    def _walk(
        self,
        tenant_id: UUID,
        entity_ids: list[UUID],
        relationship_types: list[str] | None,
        max_depth: int,
        as_of: datetime | None,
    ) -> tuple[list[Relationship], dict[UUID, int]]:
        """Return the relationships within reach, nearest first, and the depths of the entities, breadth first."""
        edges = [
            row.item
            for row in self._table(RELATIONSHIP).living(tenant_id, valid_at(as_of or self._clock()))
            if relationship_types is None or row.item.relation_type in relationship_types
        ]
        depths = dict.fromkeys(entity_ids, 0)
        found: list[Relationship] = []
        for depth in range(max_depth):
            here = [edge for edge in edges if depth in (depths.get(end) for end in _ends(edge))]
            found += sorted(here, key=lambda edge: (edge.recorded_at, edge.id))
            reached = {edge.id for edge in here}
            edges = [edge for edge in edges if edge.id not in reached]
            for end in chain.from_iterable(map(_ends, here)):
                depths.setdefault(end, depth + 1)
        return found, depths

    async def _delete_all(self, tenant_id: UUID, declarations: list[Declaration[Any]], where: Where) -> int:
        """Delete the rows of several tables with these values, and what touches the entities among them; count all."""
        gone = {row.item.id for row in self._table(ENTITY).living(tenant_id, where)}
        write_id = current_call().write_id
        deleted = sum(self._table(declaration).delete_all(tenant_id, where, write_id) for declaration in declarations)
        return deleted + await self._delete_touching(tenant_id, gone)

    def _beside_of(self, episode: Episode) -> dict[str, list[float]]:
        """Return the embeddings beside an episode's own, by model; those of an episode that is gone are not its."""
        item, vectors = self._beside.get((episode.tenant_id, episode.id), (None, {}))
        return vectors if item is episode else {}

    def _lacks(self, episode: Episode, model: str) -> bool:
        return (
            episode.embedding is not None and episode.embedding_model != model and model not in self._beside_of(episode)
        )

    def _embedded(self, episode: Episode, model: str | None) -> Episode | None:
        """Return an episode with its embedding of a model, or None if it has none."""
        if model is None or episode.embedding_model == model:
            return episode
        vector = self._beside_of(episode).get(model)
        if vector is None:
            return None
        return episode.model_copy(update={"embedding": vector, "embedding_model": model})

    async def _delete_touching(self, tenant_id: UUID, entities: set[UUID]) -> int:
        edges = [
            row.item.id for row in self._table(RELATIONSHIP).living(tenant_id, {}) if entities & {*_ends(row.item)}
        ]
        for edge in edges:
            await self._table(RELATIONSHIP).delete(tenant_id, id=edge)
        return len(edges)


def _sessions(episodes: Mapping[UUID, Episode]) -> list[list[UUID]]:
    """Return the episodes of each session, in the order of lists."""
    sessions: dict[UUID, list[UUID]] = {}
    for key in sorted(sorted(episodes), key=lambda key: episodes[key].recorded_at, reverse=True):
        if session_id := episodes[key].session_id:
            sessions.setdefault(session_id, []).append(key)
    return [*sessions.values()]


def _ends(edge: Relationship) -> tuple[UUID, UUID]:
    return edge.from_entity_id, edge.to_entity_id
