"""The configuration store in memory."""

from __future__ import annotations

from uuid import UUID

from convostore.domain.declarations import AGENT, AGENT_OWNED, RULE
from convostore.gateway.config import TableConfigStore
from convostore.inmemory.base import InMemoryStore
from convostore.inmemory.search import nearest
from convostore.models import AgentConfig, Rule


class InMemoryConfigStore(InMemoryStore, TableConfigStore):
    """Agents and what belongs to them in memory."""

    async def delete_agent(self, tenant_id: UUID, agent_id: UUID) -> bool:
        if not await self._table(AGENT).delete(tenant_id, id=agent_id):
            return False
        for owned in AGENT_OWNED:
            self._table(owned).delete_all(tenant_id, {"agent_id": agent_id})
        return True

    async def restore_agent(self, tenant_id: UUID, agent_id: UUID) -> bool:
        agent = self._table(AGENT).deleted(tenant_id, {"id": agent_id})
        if agent is None:
            return False
        rows = [
            (table, row)
            for table in (self._table(AGENT), *map(self._table, AGENT_OWNED))
            for row in table.written_by(tenant_id, agent.write_id)
        ]
        for table, row in rows:
            table.check_unique(row.item)
        for _, row in rows:
            row.deleted_at = None
        return True

    async def get_agent_config(self, tenant_id: UUID, agent_id: UUID) -> AgentConfig | None:
        agent = await self._table(AGENT).get(tenant_id, id=agent_id)
        if agent is None:
            return None
        parts = {
            owned.plural: await self._table(owned).find(tenant_id, {"agent_id": agent_id, **owned.only})
            for owned in AGENT_OWNED
        }
        return AgentConfig(agent=agent, **parts)

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
        where = {"agent_id": agent_id, "enabled": enabled_only or None, "embedding_model": embedding_model}
        rules = [row.item for row in self._table(RULE).living(tenant_id, where)]
        return nearest(query_embedding, rules, min_score)[offset : offset + limit]
