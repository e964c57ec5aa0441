"""The contract of what concerns several stores: a turn of a conversation, loaded and committed as a whole."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Annotated
from uuid import UUID

from pydantic import Field, InstanceOf

from convostore.call.effects import idempotent
from convostore.call.store import Store
from convostore.contracts.audit import AuditStore
from convostore.contracts.config import ConfigStore
from convostore.contracts.memory import MemoryStore
from convostore.contracts.profile import ProfileStore
from convostore.contracts.session import SessionStore
from convostore.contracts.unit_of_work import Unit, UnitOfWork, collected
from convostore.errors import ValidationError
from convostore.models.base import Model
from convostore.models.enums import Channel
from convostore.models.fields import ChannelUserId, Text, Vector
from convostore.models.turn import Turn

Found = Annotated[int, Field(ge=0, le=1_000)]
"""How many results of a search at most: 0 to 1,000; 0 for no search."""


class TurnStore(Store):
    """What `Stores.load_turn` and `Stores.unit_of_work` do, over the five stores of one backend.

    Tenant, interceptors and lifetime are those of its session store.
    """

    kind = "turn"

    def __init__(
        self,
        sessions: SessionStore,
        config: ConfigStore,
        memory: MemoryStore,
        audit: AuditStore,
        profiles: ProfileStore,
    ) -> None:
        super().__init__(timeout=sessions.timeout, clock=sessions._clock)
        self._surround_as(sessions)
        self.sessions = sessions
        self.config = config
        self.memory = memory
        self.audit = audit
        self.profiles = profiles

    @abstractmethod
    @idempotent
    async def load_turn(
        self,
        tenant_id: UUID,
        *,
        session_id: UUID | None = None,
        agent_id: UUID | None = None,
        channel: Channel | None = None,
        user_channel_id: ChannelUserId | None = None,
        query: Text | None = None,
        query_embedding: Vector | None = None,
        rules: Found = 5,
        episodes: Found = 5,
    ) -> Turn:
        """Return what a turn begins with: session, profile, agent configuration, and what a search finds.

        The session is the one with an id, or what `SessionStore.get_or_create` returns for a channel identity. The
        profile is the session's `customer_profile_id` or, if it has none, that of its channel identity; none is
        created. With query and embedding, rules and episodes are searched by both, with the embedding alone by vector,
        otherwise not at all. Only episodes of the profile are searched.

        Args:
            tenant_id: the tenant.
            session_id: the session; either this or the three that follow.
            agent_id: the agent of a session that is looked for by its channel identity, and created if there is none.
            channel: the channel.
            user_channel_id: what the channel calls its user, 1 to 512 characters.
            query: what is looked for, in words.
            query_embedding: what is looked for, 1 to 4,000 finite numbers, not all zero.
            rules: how many rules at most, 0 to 1,000.
            episodes: how many episodes at most, 0 to 1,000.

        Raises:
            NotFoundError: the session or the agent does not exist; nothing is created.
            ValidationError: neither or both of `session_id` and a channel identity are given.
        """

    @abstractmethod
    @idempotent
    async def commit(self, tenant_id: UUID, unit: InstanceOf[Unit], *, overwrite: bool = False) -> list[Model]:
        """Apply the writes of a unit, all or none, and return its items with what the stores set, in their order.

        Sessions are written first, then profiles, entities, relationships, episodes, and the audit trail last, in which
        the items of a chain keep their order. The store's method of the same name says what a write sets and refuses.

        Args:
            tenant_id: the tenant.
            unit: the writes, which are not changed.
            overwrite: whether one of them overwrites; the call is not idempotent then.

        Raises:
            ConflictError, NotFoundError: a write is refused; `item` tells which.
        """

    def unit_of_work(self, tenant_id: UUID) -> AbstractAsyncContextManager[UnitOfWork]:
        """Collect writes during a block, and apply them together at its end: `async with … as work:`.

        If an exception leaves the block, they are dropped. The deadline is that of the commit.

        Args:
            tenant_id: the tenant of all writes.

        Raises:
            ValidationError: the store is bound to another tenant.
            ConflictError, NotFoundError: a write is refused; `item` tells which. Nothing was applied.
        """
        if self._tenant not in (None, tenant_id):
            raise ValidationError("tenant_id: this store is bound to another tenant")
        return collected(self, tenant_id)


def named_by(
    session_id: UUID | None, agent_id: UUID | None, channel: Channel | None, user_channel_id: str | None
) -> UUID | tuple[UUID, Channel, str]:
    """Return how a session is named: by its id, or by an agent and a channel identity.

    Raises:
        ValidationError: in neither way, or in both.
    """
    identity = agent_id, channel, user_channel_id
    if session_id is not None and identity == (None, None, None):
        return session_id
    if session_id is None and agent_id is not None and channel is not None and user_channel_id is not None:
        return agent_id, channel, user_channel_id
    raise ValidationError("session_id: either it or agent_id, channel and user_channel_id must be given")
