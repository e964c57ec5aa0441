"""Demotes idle sessions and deletes old ones: a bounded number per sweep, each by compare-and-set on what was read."""

from __future__ import annotations

from datetime import datetime
from math import ceil
from uuid import UUID

from convostore.contracts.session import Swept
from convostore.redis import keys
from convostore.redis.codec import COMPRESSED, Codec, Header, microseconds
from convostore.redis.commands import Commands, on

_HEADER = 1_023
"""The last byte of a value at which its header may end."""


async def sweep(
    commands: Commands, codec: Codec, *, idle_since: datetime, old_since: datetime | None, limit: int
) -> Swept:
    """Demote sessions without activity since `idle_since`, and delete those without since `old_since`, if given.

    A session that is saved, moved or deleted meanwhile is skipped, so several processes may sweep at once.
    """
    share = ceil(limit / len(keys.BUCKETS))
    asked = []
    for bucket in keys.BUCKETS:
        for tier, moment in (("hot", idle_since), ("hot", old_since), ("cold", old_since)):
            # Scores are negated times, so the oldest sessions have the highest.
            bound = "+inf" if moment is None else f"({-microseconds(moment)}"
            asked.append(("ZREVRANGEBYSCORE", f"{bucket}{tier}", "+inf", bound, "LIMIT", 0, share))
    replies = [[UUID(member.decode()) for member in found] for found in await commands.send(asked)]
    old = list(dict.fromkeys(found for pair in (replies[1::3], replies[2::3]) for listed in pair for found in listed))
    old = old[:limit]
    idle = [found for listed in replies[0::3] for found in listed if found not in set(old)][: limit - len(old)]
    return Swept(demoted=await _demote(commands, codec, idle), deleted=await _delete(commands, old))


async def _demote(commands: Commands, codec: Codec, session_ids: list[UUID]) -> int:
    values = await commands.send([("GET", keys.value_key(session_id)) for session_id in session_ids])
    calls = []
    for session_id, value in zip(session_ids, values, strict=True):
        move = codec.move(value, COMPRESSED, session_id) if value else None
        if move is not None:
            calls.append(on("move", session_id, *move))
    return sum(await commands.run_all(calls))


async def _delete(commands: Commands, session_ids: list[UUID]) -> int:
    heads = await commands.send([("GETRANGE", keys.value_key(session_id), 0, _HEADER) for session_id in session_ids])
    headers = [value.partition(b"\n")[0] for value in heads]
    found = [(session_id, line) for session_id, line in zip(session_ids, headers, strict=True) if line]
    done = await commands.run_all(on("delete", session_id, "", line) for session_id, line in found)
    deleted = [
        (session_id, Header.parse(line)) for (session_id, line), was_there in zip(found, done, strict=True) if was_there
    ]
    await commands.run_all(
        ("repair_pointer", header.pointer, (str(session_id), header.score, "")) for session_id, header in deleted
    )
    return len(deleted)
