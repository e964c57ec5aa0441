"""The session store in two tiers: a system of record, and hot copies of the sessions in use in Redis or Valkey.

The protocol, and the proof that no outdated copy is valid: docs/explanation/hot-copies.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Self
from uuid import UUID

from convostore.call.call import current_call
from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.call.health import BackendHealth
from convostore.call.metrics import HOT_READS
from convostore.call.store import checked
from convostore.call.validation import Deadline
from convostore.contracts.session import SessionStore, Swept
from convostore.domain.declarations import SESSION
from convostore.domain.sessions import HOT_TTL, GuardedWrite, check_unbound, new_session
from convostore.models import Channel, ScopeFilter, Session, SessionStatus
from convostore.redis.driver import Client
from convostore.tiered.breaker import Breaker
from convostore.tiered.copies import HOT_LEASE, HOT_TIMEOUT, HotCopies
from convostore.tiered.guarded_writes import GuardedWrites
from convostore.tiered.leases import Leases
from convostore.tiered.promotions import Promotions
from convostore.tiered.record import SystemOfRecord
from convostore.tiered.single_flight import SingleFlight
from convostore.tiered.values import Copy


class TieredSessionStore(SessionStore):
    """Sessions on PostgreSQL, with hot copies in Redis or Valkey that may be lost at any time.

    Args:
        hot: from `redis.create_client`, or any asyncio client of redis-py; the store never closes it.
        persistent: the system of record, which also answers lists, searches and channel lookups, and knows whether
            session ids are unique per tenant alone.
        hot_ttl: how long after its last save or load a copy expires.
        hot_lease: how long other processes may read the previous revision after a save that could not place its guard,
            or that was applied after its outcome had been given up as unknown.
        hot_timeout: the timeout of each command to the hot tier, in seconds; at most a tenth of what is left of the
            call's deadline.
        timeout: the deadline of a call, in seconds.
        monotonic: the monotonic clock, in seconds, of `hot_lease` and of the circuit breaker.
        coalesce: whether concurrent calls of the hot tier share a connection per node, in common round trips.
    """

    system = "postgresql"
    connected = True

    def __init__(
        self,
        hot: Client,
        persistent: SystemOfRecord,
        *,
        hot_ttl: timedelta = HOT_TTL,
        hot_lease: timedelta = HOT_LEASE,
        hot_timeout: float = HOT_TIMEOUT,
        timeout: float = DEFAULT_TIMEOUT,
        monotonic: Callable[[], float] = time.monotonic,
        coalesce: bool = True,
    ) -> None:
        super().__init__(timeout=timeout, sessions_by_tenant=persistent.tenant_required)
        breaker = Breaker(clock=monotonic)
        self._hot = HotCopies(
            hot,
            ttl=hot_ttl,
            lease=hot_lease,
            timeout=hot_timeout,
            breaker=breaker,
            coalesce=coalesce,
            by_tenant=self.tenant_required,
        )
        self._record = persistent
        self._monotonic = monotonic
        self._generations: Leases[UUID] = Leases(hot_lease.total_seconds(), monotonic)
        self._loads: SingleFlight[tuple[UUID, UUID | None], tuple[Session, int] | None] = SingleFlight(copied=_copied)
        self._asking: SingleFlight[UUID, int] = SingleFlight()
        self._promotions = Promotions(self._hot, self._load)
        self._writes = GuardedWrites(self._hot, persistent, self._generations)

    @property
    def hot_failures(self) -> int:
        """How many calls of the hot tier failed since the store was made; PostgreSQL answered instead."""
        return self._hot.breaker.failures

    @checked
    def within(self, seconds: Deadline) -> Self:
        twin = super().within(seconds)
        twin._record = self._record.within(seconds)
        twin._writes = replace(self._writes, record=twin._record)
        return twin

    async def aclose(self) -> None:
        """Stop promotions that go on in the background."""
        await self._promotions.background.stop()

    async def get(
        self, session_id: UUID, *, tenant_id: UUID | None = None, max_staleness: float = 0.0
    ) -> Session | None:
        copy = await self._hot.read(session_id, tenant_id)
        if copy is not None and await self._is_valid(copy):
            HOT_READS.add("hit")
            return copy.session
        HOT_READS.add("miss")
        found = await self._load_once(session_id, tenant_id)
        if found is None:
            return None
        session, generation = found
        self._promotions.start(session, generation)
        return session

    async def save(self, session: Session, *, overwrite: bool = False, fence: int | None = None) -> UUID:
        generation = await self._generation_of(session.tenant_id)

        async def write(*, invalidate_copies: bool) -> int:
            await self._record.write(session, overwrite=overwrite, fence=fence, invalidate_copies=invalidate_copies)
            return generation

        await self._guarded([(session, overwrite)], write)
        return session.session_id

    async def _guarded(self, saves: Sequence[tuple[Session, bool]], write: GuardedWrite) -> None:
        """Run a write of sessions between placing and releasing their guards: see `GuardedWrites.save`."""
        await self._writes.save(saves, write)

    async def delete(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        holder = tenant_id or await self._record.tenant_of(session_id)
        if holder is None:
            return False
        return await self._writes.delete(session_id, holder)

    async def get_by_channel(
        self, tenant_id: UUID, channel: Channel, user_channel_id: str, *, agent_id: UUID | None = None
    ) -> Session | None:
        return await self._record.get_by_channel(tenant_id, channel, user_channel_id, agent_id=agent_id)

    async def get_or_create(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        channel: Channel,
        user_channel_id: str,
        *,
        customer_profile_id: UUID | None = None,
        config_version: int = 1,
    ) -> tuple[Session, bool]:
        created = new_session(
            current_call().write_id,
            tenant_id,
            agent_id,
            channel,
            user_channel_id,
            customer_profile_id=customer_profile_id,
            config_version=config_version,
        )
        asked_at = self._monotonic()
        session, generation = await self._record.load_or_create(created)
        self._generations.note(tenant_id, generation, asked_at)
        self._promotions.start(session, generation)
        return session, session.session_id == created.session_id

    async def list_by_agent(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        status: SessionStatus | None = None,
        limit: int = 100,
        offset: int = 0,
        after: Session | None = None,
    ) -> list[Session]:
        return await self._record.list_by_agent(
            tenant_id, agent_id, status=status, limit=limit, offset=offset, after=after
        )

    async def list_by_customer(
        self,
        tenant_id: UUID,
        customer_profile_id: UUID,
        *,
        limit: int = 100,
        offset: int = 0,
        after: Session | None = None,
    ) -> list[Session]:
        return await self._record.list_by_customer(
            tenant_id, customer_profile_id, limit=limit, offset=offset, after=after
        )

    async def find_sessions_by_step_hash(
        self,
        tenant_id: UUID,
        scenario_id: UUID,
        scenario_version: int,
        step_content_hash: str,
        scope_filter: ScopeFilter | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        after: Session | None = None,
    ) -> list[Session]:
        at_step = (tenant_id, scenario_id, scenario_version, step_content_hash, scope_filter)
        return await self._record.find_sessions_by_step_hash(*at_step, limit=limit, offset=offset, after=after)

    async def acquire_lock(
        self, session_id: UUID, owner: UUID, *, ttl: float = 30.0, tenant_id: UUID | None = None
    ) -> int | None:
        return await self._record.acquire_lock(session_id, owner, ttl=ttl, tenant_id=tenant_id)

    async def release_lock(self, session_id: UUID, owner: UUID, *, tenant_id: UUID | None = None) -> bool:
        return await self._record.release_lock(session_id, owner, tenant_id=tenant_id)

    async def sweep(self, *, limit: int = 1_000) -> Swept:
        check_unbound(self._tenant)
        return Swept(demoted=0, deleted=await self._writes.delete_old(limit))

    async def promote_to_hot(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        copy = await self._hot.read(session_id, tenant_id)
        if copy is not None and await self._is_valid(copy):
            return False
        found = await self._load_once(session_id, tenant_id)
        return found is not None and await self._promotions.promote(*found)

    async def demote_to_persistent(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        return await self._hot.evict(session_id, tenant_id)

    async def health_check(self) -> bool:
        return await self._record.health_check()

    async def _health(self) -> dict[str, BackendHealth]:
        return {"redis": await self._examined(self._hot.examine, self._hot_health)}

    def _hot_health(self, versions: str | None) -> BackendHealth:
        return BackendHealth(ok=True, version=versions, bypassed=not self._hot.breaker.is_closed)

    async def _is_valid(self, copy: Copy) -> bool:
        """Return whether a copy is of its tenant's present generation: no unguarded write came after it."""
        return await self._generation_of(copy.session.tenant_id, at_least=copy.generation) == copy.generation

    async def _generation_of(self, tenant_id: UUID, *, at_least: int = 0) -> int:
        """Return the generation of a tenant's copies, asked for less than a lease ago."""
        generation = self._generations.get(tenant_id)
        if generation is None or generation < at_least:
            generation = await self._asking.run(tenant_id, lambda: self._ask_generation(tenant_id))
        return generation

    async def _ask_generation(self, tenant_id: UUID) -> int:
        asked_at = self._monotonic()
        generation = await self._record.generation(tenant_id)
        self._generations.note(tenant_id, generation, asked_at)
        return generation

    async def _load_once(self, session_id: UUID, tenant_id: UUID | None) -> tuple[Session, int] | None:
        """Load a session, once for all that ask for it before the load begins."""
        return await self._loads.run((session_id, tenant_id), lambda: self._load(session_id, tenant_id))

    async def _load(self, session_id: UUID, tenant_id: UUID | None) -> tuple[Session, int] | None:
        """Return a session and its tenant's generation from the system of record."""
        asked_at = self._monotonic()
        found = await self._record.load(session_id, tenant_id)
        if found is not None:
            session, generation = found
            self._generations.note(session.tenant_id, generation, asked_at)
        return found


def _copied(found: tuple[Session, int] | None) -> tuple[Session, int] | None:
    if found is None:
        return None
    session, generation = found
    # In a quarter of the time of a deep copy.
    return SESSION.codec.from_document(SESSION.codec.to_document(session), session.session_id), generation
