"""The contract of the session store: what is happening now."""

from __future__ import annotations

from abc import abstractmethod
from uuid import UUID

from convostore.core.boundary import Store
from convostore.core.operations import writes, writes_once
from convostore.core.validation import Limit, Offset, StoredVersion
from convostore.models.enums import Channel, SessionStatus
from convostore.models.fields import ChannelUserId, Identifier
from convostore.models.migration import ScopeFilter
from convostore.models.session import Session


class SessionStore(Store):
    """Sessions, in up to two tiers: hot for what is in use, persistent for what is idle.

    A session id is unique across tenants. Lists are ordered by `last_activity_at`, newest first, then by id.
    """

    kind = "session"

    @abstractmethod
    async def get(self, session_id: UUID, *, tenant_id: UUID | None = None) -> Session | None:
        """Return a session from whichever tier holds it, or None.

        Args:
            session_id: the session.
            tenant_id: hide the session if it belongs to another tenant than this.
        """

    @abstractmethod
    @writes
    async def save(self, session: Session, *, overwrite: bool = False) -> UUID:
        """Store a session in the hot tier and return its id.

        On success the caller's session holds the new `revision` and `last_activity_at`, and on its first save
        `created_at`.

        Args:
            session: the session, with the revision it was read with, or 0 if it is new.
            overwrite: store it whatever the stored revision is.

        Raises:
            ConflictError: the stored revision is another (`current_revision` tells it), the session was deleted
                meanwhile, or the id is taken.
        """

    @abstractmethod
    @writes_once
    async def delete(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        """Delete a session for good from every tier and index; return whether it was there.

        Args:
            session_id: the session.
            tenant_id: leave the session alone if it belongs to another tenant than this.
        """

    @abstractmethod
    async def get_by_channel(self, tenant_id: UUID, channel: Channel, user_channel_id: ChannelUserId) -> Session | None:
        """Return the most recently active open session of a channel identity, or None.

        If no session is open, the most recently active closed one is returned.

        Args:
            tenant_id: the tenant.
            channel: the channel.
            user_channel_id: what the channel calls its user, 1 to 512 characters.
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
    ) -> list[Session]:
        """Return an agent's sessions, most recently active first; empty if there are none.

        Args:
            tenant_id: the tenant.
            agent_id: the agent.
            status: only sessions with this status.
            limit: how many at most, 1 to 1,000.
            offset: how many to skip, 0 to 10,000.
        """

    @abstractmethod
    async def list_by_customer(
        self, tenant_id: UUID, customer_profile_id: UUID, *, limit: Limit = 100, offset: Offset = 0
    ) -> list[Session]:
        """Return a customer's sessions, most recently active first; empty if there are none.

        Args:
            tenant_id: the tenant.
            customer_profile_id: the customer's profile.
            limit: how many at most, 1 to 1,000.
            offset: how many to skip, 0 to 10,000.
        """

    @abstractmethod
    async def find_sessions_by_step_hash(
        self,
        tenant_id: UUID,
        scenario_id: UUID,
        scenario_version: StoredVersion,
        step_content_hash: Identifier,
        scope_filter: ScopeFilter | None = None,
        *,
        limit: Limit | None = None,
        offset: Offset = 0,
    ) -> list[Session]:
        """Return the active sessions that stand at a step, most recently active first; empty if there are none.

        A session stands at the last visit in its `step_history`. Only sessions with status `ACTIVE` are found.

        Args:
            tenant_id: the tenant.
            scenario_id: the session's active scenario.
            scenario_version: its active version, from 1.
            step_content_hash: the content hash of the step.
            scope_filter: only sessions on these channels, at these nodes, of this age in whole days.
            limit: how many at most, 1 to 1,000; None means all.
            offset: how many to skip, 0 to 10,000.

        Raises:
            ValidationError: the filter has `custom_conditions`, which no store can evaluate.
        """

    @abstractmethod
    @writes_once
    async def promote_to_hot(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        """Move a session from the persistent to the hot tier; return whether it moved.

        Neither `revision` nor `last_activity_at` changes. A store with one tier returns False.
        """

    @abstractmethod
    @writes_once
    async def demote_to_persistent(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        """Move a session from the hot to the persistent tier; return whether it moved.

        Neither `revision` nor `last_activity_at` changes. A store with one tier returns False.
        """
