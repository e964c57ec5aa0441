"""The protocol of the system of record behind the tiered store."""

from __future__ import annotations

from typing import Protocol, Self
from uuid import UUID

from convostore.models import Channel, ScopeFilter, Session, SessionStatus


class SystemOfRecord(Protocol):
    """A persistent session store that also holds, per tenant, the generation of the copies of its sessions.

    A copy is valid in the generation in which it was loaded. A write without a guard increments the generation in the
    same transaction, and so invalidates the copies of the previous revision.

    All methods run inside a call of the tiered store, or inside one on its behalf, and are cancelled at its deadline
    (`convostore.call.call.current_call().deadline`). Lists, searches and locks are those of `SessionStore`.

    A cancelled or failed write may be applied later, but must not begin to commit after its call's deadline, by the
    server's clock. Copies rely on that with a second's margin. What a server that was frozen commits later nevertheless
    they are behind of by at most `hot_lease`.
    """

    @property
    def tenant_required(self) -> bool:
        """Whether a session id is unique per tenant alone, so that every call must name the tenant."""

    def within(self, seconds: float) -> Self:
        """As `Store.within`."""

    async def load(self, session_id: UUID, tenant_id: UUID | None = None) -> tuple[Session, int] | None:
        """Return a session and its tenant's generation from one snapshot, or None."""

    async def load_or_create(self, session: Session) -> tuple[Session, int]:
        """Return the open session of a session's channel identity and agent, or save it as that one.

        Of concurrent calls exactly one saves its session. One whose session an earlier attempt has saved returns that.
        Also returns the tenant's generation from the same snapshot.
        """

    async def write(self, session: Session, *, overwrite: bool, fence: int | None, invalidate_copies: bool) -> None:
        """Save a session as `SessionStore.save` does; `invalidate_copies` in the same transaction if asked to.

        Raises:
            ConflictError: as `SessionStore.save`; `current_revision` is what the table holds, None for no session.
            StoreError: with `outcome` `"not_applied"` only if the write never will be.
        """

    async def remove(self, session_id: UUID, tenant_id: UUID, *, invalidate_copies: bool) -> bool:
        """Delete a tenant's session and return whether it was there; `invalidate_copies` in the same transaction.

        Raises:
            StoreError: with `outcome` `"not_applied"` only if the session never will be deleted by this call.
        """

    async def tenant_of(self, session_id: UUID) -> UUID | None:
        """Return the tenant that holds a session, or None."""

    async def remove_old(self, limit: int) -> list[tuple[UUID, UUID]]:
        """Delete up to `limit` sessions that are older than the store keeps; return their tenants and ids."""

    async def generation(self, tenant_id: UUID) -> int:
        """Return the generation of a tenant's copies, 0 at first."""

    async def invalidate_copies(self, tenant_id: UUID) -> None:
        """Increment the generation of a tenant's copies."""

    async def health_check(self) -> bool:
        """As `Store.health_check`."""

    async def get_by_channel(
        self, tenant_id: UUID, channel: Channel, user_channel_id: str, *, agent_id: UUID | None = None
    ) -> Session | None:
        """As `SessionStore.get_by_channel`."""

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
        """As `SessionStore.list_by_agent`."""

    async def list_by_customer(
        self,
        tenant_id: UUID,
        customer_profile_id: UUID,
        *,
        limit: int = 100,
        offset: int = 0,
        after: Session | None = None,
    ) -> list[Session]:
        """As `SessionStore.list_by_customer`."""

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
        """As `SessionStore.find_sessions_by_step_hash`."""

    async def acquire_lock(
        self, session_id: UUID, owner: UUID, *, ttl: float = 30.0, tenant_id: UUID | None = None
    ) -> int | None:
        """As `SessionStore.acquire_lock`."""

    async def release_lock(self, session_id: UUID, owner: UUID, *, tenant_id: UUID | None = None) -> bool:
        """As `SessionStore.release_lock`."""
