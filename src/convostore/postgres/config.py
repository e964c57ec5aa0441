"""The configuration store on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from convostore.call.call import current_call
from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.domain.agent_configs import without_embeddings
from convostore.domain.codec import maker
from convostore.domain.declarations import AGENT, AGENT_OWNED, RULE
from convostore.domain.text import parse_query
from convostore.gateway.config import TableConfigStore
from convostore.models import Agent, AgentConfig, Rule
from convostore.models.fields import Language, now
from convostore.postgres.kept import Configuration, KeptConfigurations
from convostore.postgres.pages import page
from convostore.postgres.queries import queries
from convostore.postgres.store import PostgresStore
from convostore.postgres.vector_statements import RULES
from convostore.postgres.vectors import VectorSearch, count_search

_make_config = maker(AgentConfig)


class PostgresConfigStore(PostgresStore, TableConfigStore):
    """Agents and what they own on PostgreSQL."""

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
        self._nearest = VectorSearch(RULES, self._database)
        self._kept = KeptConfigurations()

    async def get_agents(
        self,
        tenant_id: UUID,
        *,
        enabled_only: bool = False,
        limit: int = 20,
        offset: int = 0,
        after: Agent | None = None,
    ) -> tuple[list[Agent], int]:
        total = 0

        async def fetch(position: tuple[str | None, UUID | None], offset: int) -> list[asyncpg.Record]:
            nonlocal total
            name, agent_id = position
            query = queries("config").agents(
                tenant_id=tenant_id,
                enabled=enabled_only or None,
                after_name=name,
                after_id=agent_id,
                limit=limit,
                offset=offset,
            )
            rows = await self._database.fetch(*query)
            total = rows[0]["total"]
            return [row for row in rows if row["id"] is not None]

        agents = await page(
            fetch,
            lambda row: self._table(AGENT).mapping.model(row, tenant_id),
            lambda row: (row["name"], row["id"]),
            after=(after.name, after.id) if after else (None, None),
            limit=limit,
            offset=offset,
        )
        return agents, total

    async def delete_agent(self, tenant_id: UUID, agent_id: UUID) -> bool:
        query = queries("config").delete_agent(
            tenant_id=tenant_id, agent_id=agent_id, deleted_at=self._clock(), write_id=current_call().write_id
        )
        found: bool = await self._database.fetchval(*query)
        return found

    async def restore_agent(self, tenant_id: UUID, agent_id: UUID) -> bool:
        query = queries("config").restore_agent(
            tenant_id=tenant_id, agent_id=agent_id, write_id=current_call().write_id
        )
        found: bool = await self._database.fetchval(*query)
        return found

    async def get_agent_config(self, tenant_id: UUID, agent_id: UUID, *, embeddings: bool = True) -> AgentConfig | None:
        kept = self._kept.get((tenant_id, agent_id))
        query = queries("config").get_agent_config(tenant_id=tenant_id, agent_id=agent_id, known=kept and kept.state)
        row = await self._database.fetchrow(*query)
        if row is None:
            self._kept.forget((tenant_id, agent_id))
            return None
        found = self._configuration(row, kept, tenant_id)
        return found if embeddings else without_embeddings(found)

    def _configuration(self, row: asyncpg.Record, kept: Configuration | None, tenant_id: UUID) -> AgentConfig:
        """Return an agent's configuration from a row, and from what is kept if that has its state; keep it."""
        if kept is None or kept.state != row["state"]:
            kept = Configuration(row["state"], {part.plural: row[part.name] for part in AGENT_OWNED})
            self._kept.put((tenant_id, row["id"]), kept)
        parts: dict[str, Any] = {"agent": self._table(AGENT).mapping.model(row, tenant_id)}
        for part in AGENT_OWNED:
            mapping = self._table(part).mapping
            parts[part.plural] = list(mapping.models(map(mapping.copied, kept.rows[part.plural]), tenant_id))
        return _make_config((parts, None, set(parts)))

    async def purge_deleted(self, tenant_id: UUID, *, before: datetime) -> int:
        (counts,) = await self._database.fetch(*queries("config").purge_deleted(tenant_id=tenant_id, before=before))
        return sum(counts.values())

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
        filters = {"agent_id": agent_id, "enabled": enabled_only or None, "embedding_model": embedding_model}
        return await self._nearest(tenant_id, query_embedding, filters, limit, offset, min_score)

    async def search_rules(
        self,
        query: str,
        query_embedding: list[float],
        tenant_id: UUID,
        agent_id: UUID,
        *,
        limit: int = 10,
        enabled_only: bool = True,
    ) -> list[tuple[Rule, float]]:
        enabled = enabled_only or None
        statement = self._searching(query, query_embedding, tenant_id, agent_id, limit=limit, enabled=enabled)
        rows = await self._database.fetch(*statement)
        count_search("exact")
        return self._table(RULE).mapping.scored(rows, tenant_id)

    def _searching(
        self, query: str, embedding: list[float], tenant_id: UUID, agent_id: UUID, *, limit: int, enabled: bool | None
    ) -> tuple[Any, ...]:
        """Return the statement of a hybrid search, with its arguments."""
        asked = parse_query(query)
        statement: tuple[Any, ...] = queries("config").search_rules(
            tenant_id=tenant_id,
            agent_id=agent_id,
            query=str(asked),
            terms=[*map(str, asked.terms)],
            language=self._language,
            embedding=embedding,
            enabled=enabled,
            limit=limit,
        )
        return statement
