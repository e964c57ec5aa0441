"""The configuration store on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from operator import methodcaller
from typing import Any
from uuid import UUID

import asyncpg

from convostore.call.call import current_call
from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.domain.agent_configs import without_embeddings
from convostore.domain.codec import maker, readable
from convostore.domain.declarations import AGENT, AGENT_OWNED, RULE
from convostore.domain.text import parse_query
from convostore.gateway.config import TableConfigStore
from convostore.models import Agent, AgentConfig, Rule
from convostore.models.fields import Language, now
from convostore.postgres.kept import Configuration, KeptConfigurations, size_of
from convostore.postgres.pages import page
from convostore.postgres.queries import queries
from convostore.postgres.store import PostgresStore
from convostore.postgres.vector_statements import RULES
from convostore.postgres.vectors import VectorSearch, count_search

_make_config = maker(AgentConfig)
_call: Callable[[Callable[[], Any]], Any] = methodcaller("__call__")


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
        found = self._configuration(row, self._known(row, kept, tenant_id), tenant_id)
        return found if embeddings else without_embeddings(found)

    def _known(self, row: asyncpg.Record, kept: Configuration | None, tenant_id: UUID) -> Configuration:
        """Return what is kept of an agent if that has the state in a row, or what the row has instead, and keep it."""
        if kept is None or kept.state != row["state"]:
            copies = {part.plural: self._table(part).mapping.copies(row[part.name], tenant_id) for part in AGENT_OWNED}
            kept = Configuration(row["state"], copies, sum(size_of(row[part.name]) for part in AGENT_OWNED))
            self._kept.put((tenant_id, row["id"]), kept)
        return kept

    def _configuration(self, row: asyncpg.Record, known: Configuration, tenant_id: UUID) -> AgentConfig:
        """Return the configuration of the agent in a row."""
        parts: dict[str, Any] = {"agent": self._table(AGENT).mapping.model(row, tenant_id)}
        parts |= {plural: list(readable(_call, copies.values())) for plural, copies in known.copies.items()}
        return _make_config((parts, None, set(parts)))

    def _found(self, known: Configuration, rows: Iterable[tuple[UUID, float]]) -> list[tuple[Rule, float]]:
        """Return the rules of a search, by the ids of rules of a configuration of the same snapshot, with scores."""
        count_search("exact")
        rules = known.copies[RULE.plural]
        return list(readable(lambda row: (rules[row[0]](), row[1]), rows))

    async def purge_deleted(self, tenant_id: UUID, *, before: datetime, limit: int = 1_000) -> int:
        query = queries("config").purge_deleted(tenant_id=tenant_id, before=before, limit=limit)
        (counts,) = await self._database.fetch(*query)
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
