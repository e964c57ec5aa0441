"""Turns over the five stores of one backend: each write by its own store, within one transaction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, NamedTuple
from uuid import UUID

from convostore.call.call import current_call
from convostore.contracts.turn import TurnStore, named_by
from convostore.contracts.unit_of_work import Unit, Write
from convostore.domain.declaration import Declaration, RecordType
from convostore.domain.declarations import ENTITY, EPISODE, EVENT, RELATIONSHIP, TURN
from convostore.domain.sessions import new_session, no_such_session
from convostore.errors import NotFoundError, StoreError
from convostore.gateway.audit import BodyAuditStore
from convostore.gateway.config import TableConfigStore
from convostore.gateway.memory import TableMemoryStore
from convostore.gateway.profile import BaseProfileStore
from convostore.models import AgentConfig, Channel, CustomerProfile, Episode, Rule, Session, Turn
from convostore.models.base import Model

ADDED: dict[str, Declaration[Any]] = {
    "add_entities": ENTITY,
    "add_relationships": RELATIONSHIP,
    "add_episodes": EPISODE,
}
"""What is inserted, in the order in which it is."""

OF_PROFILES = ("update_field", "add_asset")

RECORDED: dict[str, RecordType[Any]] = {"save_turn": TURN, "save_event": EVENT}


class TurnParts(NamedTuple):
    """The stores of one backend, or what they do within a transaction."""

    sessions: Any
    config: TableConfigStore
    memory: TableMemoryStore
    audit: BodyAuditStore
    profiles: BaseProfileStore


class BaseTurnStore(TurnStore):
    """Everything, over the stores and a transaction of the backend."""

    @abstractmethod
    def _transaction(self, unit: Unit) -> AbstractAsyncContextManager[TurnParts]:
        """Return a block whose stores write all that a unit has, or if it raises nothing."""

    def __init__(self, *stores: Any) -> None:
        super().__init__(*stores)
        self._parts = TurnParts(*(store._without_interceptors() for store in stores))

    @abstractmethod
    async def _load_or_create(self, session: Session) -> Session:
        """Return the open session of a session's identity and agent, or save it as that one."""

    async def commit(self, tenant_id: UUID, unit: Unit, *, overwrite: bool = False) -> list[Model]:
        unit = unit.copied()
        try:
            await self._apply(unit)
        finally:
            self._parts.sessions._recent.drop(*(each.item.session_id for each in unit.of("save_session")))
        return [each.item for each in unit.writes]

    async def _apply(self, unit: Unit) -> None:
        async with self._transaction(unit) as parts:
            await write(unit, parts)

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
        return await self._load(tenant_id, which, query, query_embedding, rules, episodes)

    async def _load(
        self,
        tenant_id: UUID,
        which: UUID | tuple[UUID, Channel, str],
        query: str | None,
        query_embedding: list[float] | None,
        rules: int,
        episodes: int,
    ) -> Turn:
        """Load a turn by calls of the stores."""
        created = False
        if isinstance(which, UUID):
            session = await self._parts.sessions.get(which, tenant_id=tenant_id)
            if session is None:
                raise no_such_session()
            config = await self._config(tenant_id, session.agent_id)
        else:
            config = await self._config(tenant_id, which[0])
            opened = new_session(current_call().write_id, tenant_id, *which)
            session = await self._load_or_create(opened)
            self._parts.sessions._recent.outdate(session)
            created = session.session_id == opened.session_id
        profile = await self._profile(session)
        asked = query_embedding is not None
        return Turn.model_construct(
            session=session,
            created=created,
            profile=profile,
            config=config,
            rules=await self._rules(session, query, query_embedding, rules) if asked and rules else [],
            episodes=await self._episodes(session, profile, query, query_embedding, episodes)
            if asked and episodes and profile
            else [],
        )

    async def _config(self, tenant_id: UUID, agent_id: UUID) -> AgentConfig:
        config = await self._parts.config.get_agent_config(tenant_id, agent_id)
        if config is None:
            raise no_such_agent()
        return config

    async def _profile(self, session: Session) -> CustomerProfile | None:
        profiles, tenant_id = self._parts.profiles, session.tenant_id
        if session.customer_profile_id is not None:
            return await profiles.get_profile(tenant_id, session.customer_profile_id)
        return await profiles.get_by_channel_identity(tenant_id, session.channel, session.user_channel_id)

    async def _rules(self, session: Session, query: str | None, embedding: Any, limit: int) -> list[tuple[Rule, float]]:
        config, where = self._parts.config, (session.tenant_id, session.agent_id)
        if query is not None:
            return await config.search_rules(query, embedding, *where, limit=limit)
        return await config.vector_search_rules(embedding, *where, limit=limit)

    async def _episodes(
        self, session: Session, profile: CustomerProfile, query: str | None, embedding: Any, limit: int
    ) -> list[tuple[Episode, float]]:
        memory, where = self._parts.memory, (session.tenant_id, session.agent_id)
        only: dict[str, Any] = {"customer_profile_id": profile.id, "limit": limit}
        if query is not None:
            return await memory.search_episodes(query, embedding, *where, **only)
        return await memory.vector_search_episodes(embedding, *where, **only)


def no_such_agent() -> NotFoundError:
    """Return the refusal of a turn of an agent that is not there."""
    return NotFoundError("agent_id: the agent does not exist")


async def write(unit: Unit, parts: TurnParts) -> None:
    """Write a unit in the one order in which every unit takes its locks.

    Raises:
        ConflictError, NotFoundError: a write is refused; `item` tells which.
    """
    for each in sorted(unit.of("save_session"), key=lambda each: each.item.session_id):
        with refusals_of(each):
            await parts.sessions._write(each.item, **each.options)
    for each in sorted(unit.of(*OF_PROFILES), key=lambda each: each.options["profile_id"]):
        change = parts.profiles._put_field if each.method == "update_field" else parts.profiles._put_asset
        with refusals_of(each):
            await change(unit.tenant_id, each.options["profile_id"], each.item)
    for method, declaration in ADDED.items():
        if added := unit.of(method):
            try:
                items = [each.item for each in added]
                await parts.memory._table(declaration).add_all(items, language=parts.memory._language)
            except StoreError as error:
                error.item = await _refused(error, added, declaration, parts.memory)
                raise
    records = in_chains(unit.of(*RECORDED))
    if await parts.audit._record_at_once([(RECORDED[each.method], each.item) for each in records]):
        return
    for each in records:
        with refusals_of(each):
            await parts.audit._record(RECORDED[each.method], [each.item])


def in_chains(records: Sequence[Write]) -> list[Write]:
    """Return what is recorded by chain, in the order of their heads' keys, and within a chain as it was given."""
    return sorted(records, key=lambda each: str(each.item.session_id or ""))


@contextmanager
def refusals_of(each: Write) -> Iterator[None]:
    """Name a write in the errors of a block."""
    try:
        yield
    except StoreError as error:
        error.item = each.method, each.place
        raise


async def _refused(
    error: StoreError, added: Sequence[Write], declaration: Declaration[Any], memory: TableMemoryStore
) -> tuple[str, int] | None:
    """Return which of several insertions was refused: the last with the error's key, or the first without a parent."""
    for each in reversed(added):
        if declaration.key_of(each.item) == error._key:
            return each.method, each.place
    if isinstance(error, NotFoundError):
        for each in added:
            for column in declaration.parents:
                if await memory._table(ENTITY).get(each.item.tenant_id, id=getattr(each.item, column)) is None:
                    return each.method, each.place
    return None
