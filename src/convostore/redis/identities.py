"""Claims of channel identities: of many calls that find no open session, one creates it.

A claim lies beside the identity's pointers, and the session in another slot. Only the call that holds the claim saves
its session, and only within `SAVE_WITHIN`, by the server's clock. A claim lasts a second longer, by which the clocks of
a cluster's nodes may differ: whoever claims after it has expired finds the pointer of a session that was saved. A claim
is removed with the pointer to its session.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from convostore.models import Session
from convostore.redis import keys
from convostore.redis.commands import Commands

SAVE_WITHIN = timedelta(seconds=1)
"""How long after it was placed a claim allows its session to be saved."""

CLAIM_TTL = SAVE_WITHIN + timedelta(seconds=1)
"""How long a claim lasts; after a call that died, others wait for it."""

CANDIDATES = 16
"""How many sessions of a channel identity are read per trip: one is wanted, and few pointers are stale."""


class Claimed(NamedTuple):
    """What a call learned of a channel identity.

    Attributes:
        verdict: "open" (there are pointers, and nothing is claimed), "held" (by another call) or "claimed".
        until: until when the session may be saved, in microseconds since 1970; "" unless claimed.
        candidates: the sessions that pointers of the identity and agent name, most recently active first.
    """

    verdict: str
    until: str
    candidates: list[UUID]


async def claim(commands: Commands, session: Session, *, offset: int, beside_pointers: bool) -> Claimed:
    """Claim the identity and agent of a session that is to be created.

    Args:
        commands: the client.
        session: the session.
        offset: how many pointers to skip.
        beside_pointers: claim it even if there are pointers.
    """
    prefix = keys.channel_of(session)
    milliseconds = [round(each / timedelta(milliseconds=1)) for each in (CLAIM_TTL, SAVE_WITHIN)]
    what = prefix, str(session.agent_id), str(session.session_id)
    call = "claim", f"{prefix}open", (*what, *milliseconds, int(beside_pointers), offset, CANDIDATES)
    ((verdict, until, *members),) = await commands.run_all([call])
    named = (keys.pointed(member) for member in members)
    return Claimed(verdict.decode(), until.decode(), [session_id for session_id, _ in filter(None, named)])
