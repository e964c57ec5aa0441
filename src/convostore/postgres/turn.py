"""Turns on PostgreSQL: what belongs to one is one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from uuid import UUID

from convostore.contracts import AuditStore, ConfigStore, MemoryStore, ProfileStore, SessionStore
from convostore.contracts.turn import named_by
from convostore.contracts.unit_of_work import Unit
from convostore.domain.revisions import take_over
from convostore.errors import ConflictError, NotFoundError, ValidationError
from convostore.gateway.turn import BaseTurnStore, TurnParts, write
from convostore.models import Channel, Session, Turn
from convostore.postgres.audit import NO_PARTITION
from convostore.postgres.loading import Asked, LoadStatement
from convostore.postgres.session import PostgresSessionStore
from convostore.postgres.store import PostgresStore
from convostore.postgres.transaction import in_transaction
from convostore.postgres.units import UnitStatement

_AGENTS = 10_000
"""Of how many sessions the agent is remembered, whose configuration may be kept."""


class PostgresTurnStore(BaseTurnStore):
    """Turns over five stores on one pool.

    Args:
        sessions: in PostgreSQL, or in two tiers of which the persistent one is.
        config: and the others, in PostgreSQL.
    """

    system = "postgresql"
    connected = True

    def __init__(
        self,
        sessions: SessionStore,
        config: ConfigStore,
        memory: MemoryStore,
        audit: AuditStore,
        profiles: ProfileStore,
    ) -> None:
        super().__init__(sessions, config, memory, audit, profiles)
        record: Any = getattr(sessions, "_record", sessions)
        stores = [record, *self._parts[1:]]
        pools = {id(store._database.pool) if isinstance(store, PostgresStore) else None for store in stores}
        if not isinstance(record, PostgresSessionStore) or len(pools) > 1:
            raise ValidationError("turns are loaded and committed together by stores on one PostgreSQL pool only")
        self._stores: list[Any] = stores
        self._record: PostgresSessionStore = record
        self._database = record._database
        self._agents: dict[UUID, UUID] = {}

    async def load_turn(
        self,
        tenant_id: UUID,
        *,
        session_id: UUID | None = None,
        agent_id: UUID | None = None,
        channel: Channel | None = None,
        user_channel_id: str | None = None,
        query: str | None = None,
        query_embedding: list[float] | None = None,
        rules: int = 5,
        episodes: int = 5,
    ) -> Turn:
        which = named_by(session_id, agent_id, channel, user_channel_id)
        if await self._database.is_distributed():
            return await self._load(tenant_id, which, query, query_embedding, rules, episodes)
        statement = LoadStatement(TurnParts(*self._stores), tenant_id, Asked(query, query_embedding, rules, episodes))
        if isinstance(which, UUID):
            statement.by_id(which)
            agent_id = self._agents.get(which)
        else:
            statement.by_identity(*which)
        if (turn := await statement.run(self._database, agent_id)) is None:
            return await self._load(tenant_id, which, query, query_embedding, rules, episodes)
        self._parts.sessions._recent.outdate(turn.session)
        self._agents[turn.session.session_id] = turn.session.agent_id
        if len(self._agents) > _AGENTS:
            del self._agents[next(iter(self._agents))]
        return turn

    async def _ping(self) -> None:
        await self._database.fetchval("SELECT 1")

    async def _load_or_create(self, session: Session) -> Session:
        loaded, _ = await self._record.load_or_create(session)
        return loaded

    async def _apply(self, unit: Unit) -> None:
        if saves := unit.of("save_session"):
            sessions = [(each.item, each.options["overwrite"]) for each in saves]
            await self._parts.sessions._guarded(sessions, partial(self._write, unit))
        else:
            await self._write(unit, invalidate_copies=False)

    async def _write(self, unit: Unit, *, invalidate_copies: bool) -> int:
        """Write a unit; on request increment the generation of hot copies; return the generation before."""
        statement, generation = UnitStatement(unit, TurnParts(*self._stores)), None
        if statement.is_possible and not await self._database.is_distributed():
            # Where something of the unit is there already, or is refused, its own store knows what that means.
            with suppress(ConflictError, NotFoundError, ValidationError):
                generation = await statement.run(self._database, invalidate_copies=invalidate_copies)
        if generation is None:
            write_each = partial(self._write_each, unit, invalidate_copies)
            try:
                generation = await write_each()
            except ValidationError as error:
                if error.code != NO_PARTITION:
                    raise
                audit: Any = self._parts.audit
                generation = await audit._record_in_new_month(write_each, audit._clock())
        return generation

    async def _write_each(self, unit: Unit, invalidate_copies: bool) -> int:
        """As `_write`, by a write for each item in a transaction; if it fails, the items are as they were."""
        written = unit.copied()
        async with self._transaction(unit) as parts:
            generation: int = await parts.sessions.generation(unit.tenant_id)
            await write(written, parts)
            if invalidate_copies:
                await parts.sessions.invalidate_copies(unit.tenant_id)
        for each, stored in zip(unit.writes, written.writes, strict=True):
            take_over(each.item, stored.item)
        return generation

    @asynccontextmanager
    async def _transaction(self, unit: Unit) -> AsyncIterator[TurnParts]:
        async with in_transaction(self._database) as database:
            yield TurnParts(*(store._on(database) for store in self._stores))
