"""Turns in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from convostore.contracts import AuditStore, ConfigStore, MemoryStore, ProfileStore, SessionStore
from convostore.contracts.unit_of_work import Unit
from convostore.domain.declarations import ENTITY, EPISODE, RELATIONSHIP
from convostore.errors import ValidationError
from convostore.gateway.turn import BaseTurnStore, TurnParts
from convostore.inmemory.base import InMemoryStore
from convostore.models import AuditEvent, ProfileAsset, ProfileField, Session, TurnRecord

_ADDED: dict[type, Any] = {declaration.model: declaration for declaration in (ENTITY, RELATIONSHIP, EPISODE)}


class InMemoryTurnStore(BaseTurnStore):
    """Turns over five stores in memory. Nothing is awaited that suspends: no other call sees a half of a unit."""

    system = "memory"

    def __init__(
        self,
        sessions: SessionStore,
        config: ConfigStore,
        memory: MemoryStore,
        audit: AuditStore,
        profiles: ProfileStore,
    ) -> None:
        if not all(isinstance(store, InMemoryStore) for store in (sessions, config, memory, audit, profiles)):
            raise ValidationError("turns are loaded and committed together by stores of one backend only")
        super().__init__(sessions, config, memory, audit, profiles)

    async def _load_or_create(self, session: Session) -> Session:
        created: Session = await self._parts.sessions._load_or_create(session)
        return created

    @asynccontextmanager
    async def _transaction(self, unit: Unit) -> AsyncIterator[TurnParts]:
        kept = list(_kept(unit, self._parts))
        try:
            yield self._parts
        except Exception:
            for restore in kept:
                restore()
            raise


def _kept(unit: Unit, parts: Any) -> Iterator[Callable[[], None]]:
    """Yield what restores all that a unit changes."""
    for write in unit.writes:
        match write.item:
            case Session():
                yield parts.sessions._kept(write.item)
            case ProfileField() | ProfileAsset():
                yield parts.profiles._kept(unit.tenant_id, write.options["profile_id"])
            case TurnRecord() | AuditEvent():
                yield parts.audit._kept(unit.tenant_id, write.item.session_id)
            case added:
                yield parts.memory._table(_ADDED[type(added)]).kept(added)
