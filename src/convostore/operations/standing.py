"""Where sessions stand in the store itself: their tier and their lock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from convostore.models import Session
from convostore.postgres.overview import Lock, Overview
from convostore.tiered.copies import HotCopies

__all__ = ["Standing", "standings"]


@dataclass(frozen=True)
class Standing:
    """Where a session stands.

    Attributes:
        tier: whether a hot copy of this revision is published; None if the hot tier cannot be asked.
        lock: its lock, None if it is free.
    """

    tier: Literal["hot", "persistent"] | None
    lock: Lock | None


async def standings(overview: Overview, hot: HotCopies, tenant_id: UUID, sessions: Sequence[Session]) -> list[Standing]:
    """Return where a tenant's sessions stand, in the order given. Nothing is promoted by looking.

    Args:
        overview: knows the locks.
        hot: the hot copies.
        tenant_id: the tenant.
        sessions: as they are stored.
    """
    locks = await overview.locks(tenant_id, (session.session_id for session in sessions))
    copies = await asyncio.gather(*(hot.read(session.session_id, tenant_id) for session in sessions))
    found = []
    for session, copy in zip(sessions, copies, strict=True):
        tier: Literal["hot", "persistent"] | None = None if hot.breaker.failures else "persistent"
        if copy is not None and copy.session.revision == session.revision:
            tier = "hot"
        found.append(Standing(tier, locks.get(session.session_id)))
    return found
