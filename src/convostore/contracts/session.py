"""The contract of the session store: what is happening now."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.call.effects import idempotent, non_idempotent
from convostore.call.locks import locked
from convostore.call.paging import paginate
from convostore.call.store import Store
from convostore.call.validation import FencingToken, Limit, Offset, Seconds, Staleness, VersionNumber
from convostore.domain.recent import RecentSessions
from convostore.models.enums import Channel, SessionStatus
from convostore.models.fields import ChannelUserId, Identifier, now
from convostore.models.migration import ScopeFilter
from convostore.models.session import Session


class Swept(NamedTuple):
    """What a sweep did: how many sessions it demoted, and how many it deleted."""

    demoted: int
    deleted: int


class SessionStore(Store):
    """Sessions, in up to two tiers: hot for what is in use, persistent for what is idle.

    A session id is unique across tenants. With `sessions_by_tenant` it is unique per tenant only: a call by id must
    then name the tenant, unless the store is bound to one; otherwise it raises ValidationError.

    Lists are ordered by `last_activity_at`, newest first, then by id. `after` is the cursor of keyset pagination: the
    last session of the page before, as it was in that page. `iter_…` streams a whole list page by page and holds no
    connection between pages; it may miss a session that is saved meanwhile, which moves to the front.
    """

    kind = "session"

    def __init__(
        self,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        clock: Callable[[], datetime] = now,
        sessions_by_tenant: bool = False,
    ) -> None:
        super().__init__(timeout=timeout, clock=clock)
        self.tenant_required = sessions_by_tenant
        self._recent = RecentSessions()
        self._interceptors_of_answers = (self._recent,)

    @abstractmethod
    async def get(
        self, session_id: UUID, *, tenant_id: UUID | None = None, max_staleness: Staleness = 0.0
    ) -> Session | None:
        """Return a session from whichever tier holds it, or None.

        Args:
            session_id: the session.
            tenant_id: hide the session if it belongs to another tenant than this.
            max_staleness: answer with what this store, or a twin of it (`for_tenant`, `within`), has read or written
                in the last so many seconds, 0 to 3,600; 0 asks the server. Own saves and deletions are seen at once,
                those of other processes within this time, and no answer is older than an earlier one.
        """

    @abstractmethod
    @idempotent
    async def save(self, session: Session, *, overwrite: bool = False, fence: FencingToken | None = None) -> UUID:
        """Upsert a session in the hot tier, a compare-and-set on its revision, and return its id.

        On success the caller's session holds the store-managed fields: the new `revision` and `last_activity_at`, and
        after the first save `created_at`.

        Args:
            session: the session, with the revision it was read with, or 0 if it is new.
            overwrite: store it whatever the stored revision is; not idempotent.
            fence: the fencing token of the lock under which the session was worked on.

        Raises:
            ConflictError: the stored revision is another (`current_revision` tells it), the session was deleted
                meanwhile, the id of a new one is in use, or another has got the lock since (`code` is `"fenced"`).
        """

    @abstractmethod
    @non_idempotent
    async def delete(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        """Delete a session permanently from every tier and index; return whether it existed.

        Args:
            session_id: the session.
            tenant_id: leave the session alone if it belongs to another tenant than this.
        """

    @abstractmethod
    async def get_by_channel(
        self, tenant_id: UUID, channel: Channel, user_channel_id: ChannelUserId, *, agent_id: UUID | None = None
    ) -> Session | None:
        """Return the most recently active session of a channel identity, an open one if there is any, or None.

        Args:
            tenant_id: the tenant.
            channel: the channel.
            user_channel_id: what the channel calls its user, 1 to 512 characters.
            agent_id: only sessions of this agent.
        """

    @abstractmethod
    @idempotent
    async def get_or_create(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        channel: Channel,
        user_channel_id: ChannelUserId,
        *,
        customer_profile_id: UUID | None = None,
        config_version: VersionNumber = 1,
    ) -> tuple[Session, bool]:
        """Return the open session of a channel identity with an agent, and whether this call created it.

        It is the most recently active one that is not closed. If there is none, a new one is saved and returned. Of
        concurrent calls for an identity and agent exactly one creates the session, and the others return it.

        Args:
            tenant_id: the tenant.
            agent_id: the agent; not checked to exist.
            channel: the channel.
            user_channel_id: what the channel calls its user, 1 to 512 characters.
            customer_profile_id: the profile of a new session; an existing session is returned as it is.
            config_version: the configuration version of a new session, from 1.
        """

    @abstractmethod
    async def list_by_agent(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        status: SessionStatus | None = None,
        limit: Limit = 100,
        offset: Offset = 0,
        after: Session | None = None,
    ) -> list[Session]:
        """Return an agent's sessions, most recently active first; empty if there are none.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            status: only sessions with this status.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only sessions behind this one, stored or not.
        """

    def iter_by_agent(
        self, tenant_id: UUID, agent_id: UUID, *, status: SessionStatus | None = None
    ) -> AsyncIterator[Session]:
        """Yield all of an agent's sessions, most recently active first.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            status: only sessions with this status.
        """
        return paginate(partial(self.list_by_agent, tenant_id, agent_id, status=status))

    @abstractmethod
    async def list_by_customer(
        self,
        tenant_id: UUID,
        customer_profile_id: UUID,
        *,
        limit: Limit = 100,
        offset: Offset = 0,
        after: Session | None = None,
    ) -> list[Session]:
        """Return a customer's sessions, most recently active first; empty if there are none.

        Args:
            tenant_id: the tenant.
            customer_profile_id: the customer's profile.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only sessions behind this one, stored or not.
        """

    def iter_by_customer(self, tenant_id: UUID, customer_profile_id: UUID) -> AsyncIterator[Session]:
        """Yield all of a customer's sessions, most recently active first."""
        return paginate(partial(self.list_by_customer, tenant_id, customer_profile_id))

    @abstractmethod
    async def find_sessions_by_step_hash(
        self,
        tenant_id: UUID,
        scenario_id: UUID,
        scenario_version: VersionNumber,
        step_content_hash: Identifier,
        scope_filter: ScopeFilter | None = None,
        *,
        limit: Limit | None = None,
        offset: Offset = 0,
        after: Session | None = None,
    ) -> list[Session]:
        """Return the active sessions that stand at a step, most recently active first; empty if there are none.

        A session stands at the last visit in its `step_history`. Only sessions with status `ACTIVE` are found.

        Args:
            tenant_id: the tenant.
            scenario_id: the session's active scenario.
            scenario_version: its active version, from 1.
            step_content_hash: the content hash of the step.
            scope_filter: only sessions on these channels, at these nodes, of this age in whole days.
            limit: the maximum number of results, 1 to 1,000; None means all.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only sessions behind this one, stored or not.

        Raises:
            ValidationError: the filter has `custom_conditions`, which no store can evaluate.
        """

    def iter_sessions_by_step_hash(
        self,
        tenant_id: UUID,
        scenario_id: UUID,
        scenario_version: int,
        step_content_hash: str,
        scope_filter: ScopeFilter | None = None,
    ) -> AsyncIterator[Session]:
        """Yield all active sessions that stand at a step, most recently active first.

        Args:
            tenant_id: the tenant.
            scenario_id: this and the next three as in `find_sessions_by_step_hash`.
        """
        at_step = (tenant_id, scenario_id, scenario_version, step_content_hash, scope_filter)
        return paginate(partial(self.find_sessions_by_step_hash, *at_step))

    @abstractmethod
    @idempotent
    async def acquire_lock(
        self, session_id: UUID, owner: UUID, *, ttl: Seconds = 30.0, tenant_id: UUID | None = None
    ) -> int | None:
        """Give a session's lock to an owner, or extend it if the owner has it; return its fencing token.

        Returns None while another owner has the lock. Tokens of one session only grow; if an owner gets another token
        than before, it had lost the lock in between. Most callers use `lock`.

        Args:
            session_id: the session, which must exist.
            owner: a new id for each attempt to work on the session.
            ttl: after how many seconds the lock is free again if it is not extended, 0.1 to 3,600.
            tenant_id: only a session of this tenant.

        Raises:
            NotFoundError: the session does not exist.
        """

    @abstractmethod
    @idempotent
    async def release_lock(self, session_id: UUID, owner: UUID, *, tenant_id: UUID | None = None) -> bool:
        """Free a session's lock if this owner has it; return whether it had.

        Args:
            session_id: the session.
            owner: whose lock to free.
            tenant_id: only a session of this tenant.
        """

    def lock(
        self, session_id: UUID, *, ttl: float = 30.0, tenant_id: UUID | None = None
    ) -> AbstractAsyncContextManager[int]:
        """Hold a session's lock during a block: `async with store.lock(session_id) as token:`.

        Waits for the lock within the store's deadline, renews it as long as the block runs, and releases it. If a
        worker was frozen for longer than `ttl`, another may have got the lock: `save(session, fence=token)` then
        refuses its write.

        Args:
            session_id: the session, which must exist.
            ttl: after how many seconds the lock of a worker that died is free, 0.1 to 3,600.
            tenant_id: only a session of this tenant.

        Raises:
            ConflictError: other workers held the lock until the deadline (`code` is `"locked"`; retryable).
            NotFoundError: the session does not exist.
        """
        return locked(self, session_id, ttl=ttl, tenant_id=tenant_id)

    @abstractmethod
    @idempotent
    async def sweep(self, *, limit: Limit = 1_000) -> Swept:
        """Demote sessions that have been idle for too long and delete those that are too old, of all tenants.

        The store's `hot_ttl` and `max_age` are the limits. One call does a bounded piece of work: call again until it
        moves and deletes nothing. Any number of processes may sweep at once.

        Args:
            limit: how many sessions to move or delete at most, 1 to 1,000.

        Raises:
            ValidationError: the store is bound to one tenant.
        """

    @abstractmethod
    @non_idempotent
    async def promote_to_hot(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        """Move a session from the persistent to the hot tier; return whether it moved.

        Neither `revision` nor `last_activity_at` changes. A store with one tier returns False.
        """

    @abstractmethod
    @non_idempotent
    async def demote_to_persistent(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        """Move a session from the hot to the persistent tier; return whether it moved.

        Neither `revision` nor `last_activity_at` changes. A store with one tier returns False.
        """
