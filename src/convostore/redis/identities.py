"""Sessions of channel identities: finding one, and claiming to create one, which one of many calls does.

A claim lies beside the identity's pointers, and the session in another slot. Only the call that holds the claim saves
its session, and only within `SAVE_WITHIN`, by the server's clock. A claim lasts a second longer, by which the clocks of
a cluster's nodes may differ: whoever claims after it has expired finds the pointer of a session that was saved. A claim
is removed with the pointer to its session.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from convostore.domain.codec import readable
from convostore.models import Channel, Session, SessionStatus
from convostore.redis import codec, keys
from convostore.redis.commands import WRONG_TYPE, Commands, checked_index
from convostore.redis.keys import SessionName

Read: TypeAlias = "Callable[[Iterable[tuple[SessionName, Any]], UUID], Iterator[Session]]"
"""Reads a tenant's sessions in the replies that are their values, without those that cannot be read."""

SAVE_WITHIN = timedelta(seconds=1)
"""How long after it was placed a claim allows its session to be saved."""

CLAIM_TTL = SAVE_WITHIN + timedelta(seconds=1)
"""How long a claim lasts; after a call that died, others wait for it."""

CANDIDATES = 16
"""How many sessions of a channel identity are read per trip: one is wanted, and few pointers are stale."""

_PAUSES = (0.002, 0.004, 0.008, 0.016, 0.032, 0.05)
"""Seconds between two looks at an identity that another call has claimed; the last again and again."""


class _Claimed(NamedTuple):
    """What a call learned of a channel identity.

    Attributes:
        verdict: "open" (there are pointers, and nothing is claimed), "held" (by another call) or "claimed".
        until: until when the session may be saved, in microseconds since 1970; "" unless claimed.
        candidates: the sessions that pointers of the identity and agent name, most recently active first.
    """

    verdict: str
    until: str
    candidates: list[SessionName]


async def find_by_channel(
    commands: Commands, read: Read, identity: tuple[UUID, Channel, str], agent_id: UUID | None
) -> Session | None:
    """Return the session of a tenant's channel identity: see `SessionStore.get_by_channel`."""
    index = keys.channel_index(*identity)
    start, closed, opened = 0, None, f"{index}open"
    pointers = [opened, f"{index}closed"]
    while pointers:
        asked = [("ZRANGE", name, start, start + CANDIDATES - 1) for name in pointers]
        replies = zip(pointers, await commands.send(asked, tolerated=WRONG_TYPE), strict=True)
        pages = dict(readable(checked_index, replies))
        named = filter(None, (keys.pointed(member) for members in pages.values() for member in members))
        candidates = [name for name, agent in named if agent_id in (None, agent)]
        for session in await _of_identity(commands, read, candidates, identity[0], index, agent_id):
            if session.status is not SessionStatus.CLOSED:
                return session
            closed = closed or session
        # Any open session comes before a closed one.
        more = [name for name, members in pages.items() if len(members) == CANDIDATES]
        pointers = [name for name in more if name == opened or closed is None]
        start += CANDIDATES
    return closed


async def open_or_claim(commands: Commands, read: Read, session: Session) -> Session | str:
    """Return the open session of a session's identity and agent, or claim the identity for this one.

    Returns:
        The open session, this one if it is that; or until when this one may be saved, in microseconds since 1970.
    """
    index, offset, beside_pointers, waits = keys.channel_of(session), 0, False, 0
    while True:
        claimed = await _claim(commands, session, offset=offset, beside_pointers=beside_pointers)
        found = await _of_identity(commands, read, claimed.candidates, session.tenant_id, index, session.agent_id)
        for each in sorted(found, key=lambda each: each.session_id != session.session_id):
            if each.status is not SessionStatus.CLOSED:
                return each
        if len(claimed.candidates) == CANDIDATES:
            offset += CANDIDATES
        elif claimed.verdict == "claimed":
            return claimed.until
        else:
            offset, beside_pointers = 0, claimed.verdict == "open"
            if claimed.verdict == "held":
                await asyncio.sleep(_PAUSES[min(waits, len(_PAUSES) - 1)] * random.uniform(0.5, 1.0))  # noqa: S311
                waits += 1


async def _claim(commands: Commands, session: Session, *, offset: int, beside_pointers: bool) -> _Claimed:
    """Claim the identity and agent of a session that is to be created.

    Args:
        commands: the client.
        session: the session.
        offset: how many pointers to skip.
        beside_pointers: claim it even if there are pointers.
    """
    prefix = keys.channel_of(session)
    milliseconds = [round(each / timedelta(milliseconds=1)) for each in (CLAIM_TTL, SAVE_WITHIN)]
    what = prefix, str(session.agent_id), str(commands.name_of(session))
    call = "claim", f"{prefix}open", (*what, *milliseconds, int(beside_pointers), offset, CANDIDATES)
    ((verdict, until, *members),) = await commands.run_all([call])
    named = (keys.pointed(member) for member in members)
    return _Claimed(verdict.decode(), until.decode(), [name for name, _ in filter(None, named)])


async def _of_identity(
    commands: Commands,
    read: Read,
    candidates: Iterable[SessionName],
    tenant_id: UUID,
    index: str,
    agent_id: UUID | None,
) -> list[Session]:
    """Return those sessions that have a channel identity, and this agent if one is given, most recent first."""
    sessions = read(await commands.values(candidates), tenant_id)
    return sorted(
        (each for each in sessions if keys.channel_of(each) == index and agent_id in (None, each.agent_id)),
        key=codec.recency,
    )
