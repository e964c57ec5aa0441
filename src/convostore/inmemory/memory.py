"""The memory store in memory."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from convostore.core.entities import ENTITY, EPISODE, RELATIONSHIP
from convostore.core.stores.memory import TableMemoryStore
from convostore.inmemory.base import InMemoryStore
from convostore.inmemory.search import matching_text, nearest
from convostore.inmemory.table import InMemoryTable, copied
from convostore.models import Episode, Relationship


class InMemoryMemoryStore(InMemoryStore, TableMemoryStore):
    """Episodes and the graph in memory. Text search knows the `simple` configuration and reads others like it."""

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
    ) -> list[tuple[Episode, float]]:
        where = {
            "agent_id": agent_id,
            "customer_profile_id": customer_profile_id,
            "embedding_model": embedding_model,
        }
        episodes = [row.item for row in self._table(EPISODE).living(tenant_id, where)]
        return nearest(query_embedding, episodes, min_score)[offset : offset + limit]

    async def text_search_episodes(
        self,
        query: str,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        language: str = "simple",
        limit: int = 10,
        offset: int = 0,
    ) -> list[Episode]:
        where = {"agent_id": agent_id, "language": language}
        episodes = [row.item for row in self._table(EPISODE).living(tenant_id, where)]
        return matching_text(query, episodes)[offset : offset + limit]

    async def delete_entity(self, tenant_id: UUID, entity_id: UUID) -> bool:
        if not await self._table(ENTITY).delete(tenant_id, id=entity_id):
            return False
        await self._delete_touching(tenant_id, {entity_id})
        return True

    async def delete_by_group(self, tenant_id: UUID, group_id: UUID) -> int:
        deleted = 0
        gone = {row.item.id for row in self._table(ENTITY).living(tenant_id, {"group_id": group_id})}
        tables: list[InMemoryTable[Any]] = [self._table(EPISODE), self._table(ENTITY), self._table(RELATIONSHIP)]
        for table in tables:
            while await table.delete(tenant_id, group_id=group_id):
                deleted += 1
        return deleted + await self._delete_touching(tenant_id, gone)

    async def traverse_from_entities(
        self,
        tenant_id: UUID,
        entity_ids: list[UUID],
        *,
        relationship_types: list[str] | None = None,
        max_depth: int = 2,
        as_of: datetime | None = None,
    ) -> list[Relationship]:
        moment = as_of or self._clock()
        edges = [
            edge
            for edge in (row.item for row in self._table(RELATIONSHIP).living(tenant_id, {}))
            if edge.valid_from <= moment
            and (edge.valid_to is None or moment < edge.valid_to)
            and (relationship_types is None or edge.relation_type in relationship_types)
        ]
        reached, frontier = set(entity_ids), set(entity_ids)
        depths: dict[UUID, int] = {}
        found: list[Relationship] = []
        for depth in range(1, max_depth + 1):
            here = [e for e in edges if e.id not in depths and {e.from_entity_id, e.to_entity_id} & frontier]
            depths |= dict.fromkeys((edge.id for edge in here), depth)
            found += here
            frontier = {end for edge in here for end in (edge.from_entity_id, edge.to_entity_id)} - reached
            reached |= frontier
        found.sort(key=lambda edge: (depths[edge.id], edge.recorded_at, edge.id))
        return [copied(edge) for edge in found]

    async def _delete_touching(self, tenant_id: UUID, entities: set[UUID]) -> int:
        edges = [
            row.item.id
            for row in self._table(RELATIONSHIP).living(tenant_id, {})
            if {row.item.from_entity_id, row.item.to_entity_id} & entities
        ]
        for edge in edges:
            await self._table(RELATIONSHIP).delete(tenant_id, id=edge)
        return len(edges)
