"""Demotes idle sessions and deletes old ones, a bounded number at a time, guarded by what was read of each."""

from __future__ import annotations

from datetime import datetime
from math import ceil
from uuid import UUID

from convostore.contracts.session import Swept
from convostore.redis import keys
from convostore.redis.codec import COMPRESSED, Codec, Header, microseconds
from convostore.redis.commands import Commands, on

_HEADER = 1_023


async def sweep(
    commands: Commands, codec: Codec, *, idle_since: datetime, old_since: datetime | None, limit: int
) -> Swept:
    """Demote what has been idle and delete what has been there since before these moments; None deletes nothing.

    What is saved, moved or deleted meanwhile is left alone, so any number of processes may do this at once.
    """
    share = ceil(limit / len(keys.BUCKETS))
    asked = []
    for bucket in keys.BUCKETS:
        for tier, moment in (("hot", idle_since), ("hot", old_since), ("cold", old_since)):
            # Scores are negated times. What has waited longest comes first.
            bound = "+inf" if moment is None else f"({-microseconds(moment)}"
            asked.append(("ZREVRANGEBYSCORE", f"{bucket}{tier}", "+inf", bound, "LIMIT", 0, share))
    answers = [[UUID(member.decode()) for member in found] for found in await commands.send(asked)]
    old = list(dict.fromkeys(found for pair in (answers[1::3], answers[2::3]) for listed in pair for found in listed))
    old = old[:limit]
    idle = [found for listed in answers[0::3] for found in listed if found not in set(old)][: limit - len(old)]
    return Swept(demoted=await _demoted(commands, codec, idle), deleted=await _deleted(commands, old))


async def _demoted(commands: Commands, codec: Codec, session_ids: list[UUID]) -> int:
    values = await commands.send([("GET", keys.value_key(session_id)) for session_id in session_ids])
    calls = []
    for session_id, value in zip(session_ids, values, strict=True):
        move = codec.moved(value, COMPRESSED) if value else None
        if move is not None:
            calls.append(on("move", session_id, *move))
    return sum(await commands.run_all(calls))


async def _deleted(commands: Commands, session_ids: list[UUID]) -> int:
    heads = await commands.send([("GETRANGE", keys.value_key(session_id), 0, _HEADER) for session_id in session_ids])
    headers = [value.partition(b"\n")[0] for value in heads]
    found = [(session_id, line) for session_id, line in zip(session_ids, headers, strict=True) if line]
    deleted = await commands.run_all(on("delete", session_id, "", line) for session_id, line in found)
    gone = [(session_id, Header.parsed(line)) for (session_id, line), done in zip(found, deleted, strict=True) if done]
    await commands.run_all(("mend", old.pointer, (str(session_id), old.score, "")) for session_id, old in gone)
    return len(gone)
