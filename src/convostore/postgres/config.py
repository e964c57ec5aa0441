"""The configuration store on PostgreSQL."""

from __future__ import annotations

from uuid import UUID

from convostore.core.boundary import current_write_id
from convostore.core.entities import RULE
from convostore.core.stores.config import TableConfigStore
from convostore.models import Rule
from convostore.postgres.queries import queries
from convostore.postgres.store import PostgresStore


class PostgresConfigStore(PostgresStore, TableConfigStore):
    """Agents and what belongs to them on PostgreSQL."""

    async def delete_agent(self, tenant_id: UUID, agent_id: UUID) -> bool:
        marks = (self._clock(), current_write_id())
        found: bool = await self._database.fetchval(queries("config")["delete_agent"], tenant_id, agent_id, *marks)
        return found

    async def restore_agent(self, tenant_id: UUID, agent_id: UUID) -> bool:
        query = queries("config")["restore_agent"]
        found: bool = await self._database.fetchval(query, tenant_id, agent_id, current_write_id())
        return found

    async def vector_search_rules(
        self,
        query_embedding: list[float],
        tenant_id: UUID,
        agent_id: UUID,
        *,
        limit: int = 10,
        offset: int = 0,
        min_score: float = 0.0,
        enabled_only: bool = True,
        embedding_model: str | None = None,
    ) -> list[tuple[Rule, float]]:
        rows = await self._database.fetch(
            queries("config")["vector_search_rules"],
            *(tenant_id, agent_id, query_embedding, enabled_only, embedding_model, min_score, limit, offset),
        )
        mapping = self._table(RULE).mapping
        return [(mapping.model(row, tenant_id), row["score"]) for row in rows]
