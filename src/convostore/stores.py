"""The five stores, opened together: `Stores`."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from convostore.call.health import Health
from convostore.engines import Engines

if TYPE_CHECKING:
    from convostore.call.call import Interceptor
    from convostore.contracts import (
        AuditStore,
        ConfigStore,
        MemoryStore,
        ProfileStore,
        SessionStore,
        TurnStore,
        UnitOfWork,
    )
    from convostore.models import Channel, Turn


@dataclass
class Sweeps:
    """The work of a sweeper.

    Attributes:
        last: when it last finished.
    """

    last: datetime | None = None


@dataclass(frozen=True)
class Stores:
    """The five stores, and the resources that were opened for them.

    Attributes:
        engines: which servers they are on.
    """

    sessions: SessionStore
    config: ConfigStore
    memory: MemoryStore
    audit: AuditStore
    profiles: ProfileStore
    engines: Engines = field(default_factory=Engines)
    _sweeps: Sweeps = field(default_factory=Sweeps, repr=False, compare=False)
    _opened: AsyncExitStack = field(default_factory=AsyncExitStack, repr=False, compare=False)

    def for_tenant(self, tenant_id: UUID) -> Stores:
        """Return the stores bound to one tenant: a call that names another raises ValidationError.

        Closing them is a no-op: the owner closes the stores they came from.
        """
        return Stores(
            sessions=self.sessions.for_tenant(tenant_id),
            config=self.config.for_tenant(tenant_id),
            memory=self.memory.for_tenant(tenant_id),
            audit=self.audit.for_tenant(tenant_id),
            profiles=self.profiles.for_tenant(tenant_id),
            engines=self.engines,
            _sweeps=self._sweeps,
        )

    def with_interceptors(self, *interceptors: Interceptor) -> Stores:
        """Return the stores with interceptors around every call, the first outermost.

        Closing either closes both.
        """
        return Stores(
            sessions=self.sessions.with_interceptors(*interceptors),
            config=self.config.with_interceptors(*interceptors),
            memory=self.memory.with_interceptors(*interceptors),
            audit=self.audit.with_interceptors(*interceptors),
            profiles=self.profiles.with_interceptors(*interceptors),
            engines=self.engines,
            _sweeps=self._sweeps,
            _opened=self._opened,
        )

    def _end(self) -> None:
        for store in (self.sessions, self.config, self.memory, self.audit, self.profiles):
            store._end_lifetime()

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
        timeout: float | None = None,
    ) -> Turn:
        """Return what a turn begins with: see `TurnStore.load_turn`.

        Args:
            tenant_id: this and all but the last as there.
            timeout: the deadline of the call, in seconds; None for that of the stores.
        """
        return await self._turns_within(timeout).load_turn(
            tenant_id,
            session_id=session_id,
            agent_id=agent_id,
            channel=channel,
            user_channel_id=user_channel_id,
            query=query,
            query_embedding=query_embedding,
            rules=rules,
            episodes=episodes,
        )

    def unit_of_work(self, tenant_id: UUID, *, timeout: float | None = None) -> AbstractAsyncContextManager[UnitOfWork]:
        """Collect writes during a block and apply them together at its end, all or none: see `TurnStore.unit_of_work`.

        Args:
            tenant_id: the tenant of all writes.
            timeout: the deadline of the commit, in seconds; None for that of the stores.
        """
        return self._turns_within(timeout).unit_of_work(tenant_id)

    def _turns_within(self, timeout: float | None) -> TurnStore:
        return self._turns if timeout is None else self._turns.within(timeout)

    @cached_property
    def _turns(self) -> TurnStore:
        stores = self.sessions, self.config, self.memory, self.audit, self.profiles
        if self.config.system == "memory":
            from convostore.inmemory import InMemoryTurnStore

            return InMemoryTurnStore(*stores)
        from convostore.postgres import PostgresTurnStore

        return PostgresTurnStore(*stores)

    async def health(self) -> Health:
        """Return the state of the servers behind the stores, each asked once within the deadline. Raises nothing."""
        found = await asyncio.gather(self.config._health(), self.sessions._health())
        backends = {name: report for each in found for name, report in each.items()}
        truth = backends.get("postgres") or backends["memory"]
        return Health(
            ok=all(report.ok for report in backends.values()),
            serves=truth.ok,
            backends=backends,
            swept_at=self._sweeps.last,
        )

    async def aclose(self) -> None:
        """Close the connections, and stop embedded engines that have no other client."""
        await self._opened.aclose()
