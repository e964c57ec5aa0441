"""The memory store on PostgreSQL with pgvector."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from convostore.core.entities import EPISODE, RELATIONSHIP
from convostore.core.stores.memory import TableMemoryStore
from convostore.models import Episode, Relationship
from convostore.postgres.queries import queries
from convostore.postgres.store import PostgresStore


class PostgresMemoryStore(PostgresStore, TableMemoryStore):
    """Episodes and the graph on PostgreSQL. Vector search is exact: it compares all that filters leave."""

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
        rows = await self._database.fetch(
            queries("memory")["vector_search_episodes"],
            *(tenant_id, agent_id, query_embedding, customer_profile_id, embedding_model, min_score, limit, offset),
        )
        mapping = self._table(EPISODE).mapping
        return [(mapping.model(row, tenant_id), row["score"]) for row in rows]

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
        statement = queries("memory")["text_search_episodes"]
        rows = await self._database.fetch(statement, tenant_id, agent_id, language, query, limit, offset)
        return [self._table(EPISODE).mapping.model(row, tenant_id) for row in rows]

    async def traverse_from_entities(
        self,
        tenant_id: UUID,
        entity_ids: list[UUID],
        *,
        relationship_types: list[str] | None = None,
        max_depth: int = 2,
        as_of: datetime | None = None,
    ) -> list[Relationship]:
        rows = await self._database.fetch(
            queries("memory")["traverse"],
            *(tenant_id, entity_ids, relationship_types, as_of or self._clock(), max_depth),
        )
        return [self._table(RELATIONSHIP).mapping.model(row, tenant_id) for row in rows]

    async def delete_entity(self, tenant_id: UUID, entity_id: UUID) -> bool:
        deleted: int = await self._database.fetchval(queries("memory")["delete_entity"], tenant_id, entity_id)
        return deleted > 0

    async def delete_by_group(self, tenant_id: UUID, group_id: UUID) -> int:
        deleted: int = await self._database.fetchval(queries("memory")["delete_by_group"], tenant_id, group_id)
        return deleted
