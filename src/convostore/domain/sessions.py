"""What the session stores have in common: their defaults, and what they refuse."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol
from uuid import UUID

from convostore.domain.codec import Codec
from convostore.errors import ConflictError, NotFoundError, ValidationError
from convostore.models import Channel, Session

PAYLOAD = Codec("session", Session, beside=Session.store_managed)
"""Turns sessions into what is stored behind a header, which holds the store-managed fields, and back."""

HOT_TTL = timedelta(minutes=30)
"""How long a session may be idle before a sweep demotes it."""

MAX_AGE = timedelta(days=7)
"""How long after its last activity a sweep deletes a session, where sessions live in memory."""


class GuardedWrite(Protocol):
    """Writes sessions of one tenant behind the guards of their hot copies."""

    async def __call__(self, *, invalidate_copies: bool) -> int:
        """Write them; on request increment the generation of the tenant's copies; return the generation before."""


def new_session(
    session_id: UUID,
    tenant_id: UUID,
    agent_id: UUID,
    channel: Channel,
    user_channel_id: str,
    *,
    customer_profile_id: UUID | None = None,
    config_version: int = 1,
) -> Session:
    """Return the session that `get_or_create` creates if there is none.

    Its id is the write id of the call: a retry recognises what an earlier attempt created, whoever has saved or closed
    it since.
    """
    return Session(
        session_id=session_id,
        tenant_id=tenant_id,
        agent_id=agent_id,
        channel=channel,
        user_channel_id=user_channel_id,
        customer_profile_id=customer_profile_id,
        config_version=config_version,
    )


def session_id_conflict() -> ConflictError:
    """Return the error that says that another tenant's session has the id."""
    return ConflictError("session: the session id is in use", code="session_session_id_key")


def fence_conflict() -> ConflictError:
    """Return the refusal of a save whose lock was given to another holder."""
    return ConflictError("session: the lock was given to another holder", code="fenced")


def no_such_session() -> NotFoundError:
    """Return the refusal of a lock on a session that is not there."""
    return NotFoundError("session_id: the session does not exist")


def check_unbound(tenant_id: UUID | None, operation: str = "sweep") -> None:
    """Refuse to do for one tenant what can only be done for all.

    Raises:
        ValidationError: the store is bound.
    """
    if tenant_id is not None:
        raise ValidationError(f"{operation}: works for all tenants; this store is bound to one")
