"""Demotes idle sessions and deletes old ones: a bounded number per sweep, each only if it is as it was read."""

from __future__ import annotations

from datetime import datetime
from math import ceil
from typing import Any

from convostore.contracts.session import Swept
from convostore.domain.codec import readable
from convostore.redis import keys
from convostore.redis.codec import COMPRESSED, Codec, Header, microseconds
from convostore.redis.commands import WRONG_TYPE, Commands, checked_index, checked_value, on, repair
from convostore.redis.keys import SessionName

_HEAD = 1_024
"""How many bytes of a value identify it to set_aside.lua; its header is shorter."""

_PASSED_OVER = WRONG_TYPE | {"TRYAGAIN"}
"""Refusals of a session's script that stop no sweep of the others: an index is damaged, or their slot migrates."""


async def sweep(
    commands: Commands, codec: Codec, *, idle_since: datetime, old_since: datetime | None, limit: int
) -> Swept:
    """Demote sessions without activity since `idle_since`, and delete those without since `old_since`, if given.

    A session that is saved, moved or deleted meanwhile is skipped, so several processes may sweep at once. One that
    cannot be read is logged and set aside, so that no later sweep meets it before it is old.
    """
    idle_bound = _bound(idle_since)
    old_bound = None if old_since is None else _bound(old_since)
    share = ceil(limit / len(keys.BUCKETS))
    while True:
        idle, old, garbage = await _due(commands, idle_bound, old_bound, share)
        old = old[:limit]
        idle = [each for each in idle if each not in set(old)][: limit - len(old)]
        demoted, aside = await _demote(commands, codec, idle)
        deleted = await _delete(commands, old, old_bound)
        removed = sum(await commands.send([("ZREM", name, member) for name, member in garbage]))
        if demoted or deleted or not aside + removed:
            return Swept(demoted, deleted)


def _bound(moment: datetime) -> int:
    """Return the score of a moment: what was last active before has a higher one, as scores are negated times."""
    return -microseconds(moment)


async def _due(
    commands: Commands, idle_bound: int, old_bound: int | None, share: int
) -> tuple[list[SessionName], list[SessionName], list[tuple[str, bytes]]]:
    """Return what is idle, what is old, and entries that name no session, from the indexes of tiers."""
    asked = [(f"{bucket}hot", idle_bound) for bucket in keys.BUCKETS]
    if old_bound is not None:
        asked += [(f"{bucket}{tier}", old_bound) for bucket in keys.BUCKETS for tier in ("hot", "cold")]
    replies = await commands.send(
        [("ZREVRANGEBYSCORE", name, "+inf", f"({bound}", "LIMIT", 0, share) for name, bound in asked],
        tolerated=WRONG_TYPE,
    )
    indexes = [name for name, _ in asked]
    named: list[list[SessionName]] = [[], []]
    garbage: list[tuple[str, bytes]] = []
    for at, (name, reply) in enumerate(zip(indexes, replies, strict=True)):
        for _, members in readable(checked_index, [(name, reply)]):
            for member in members:
                session = keys.name_in(member, keys.prefix_of(name))
                if session is None:
                    garbage.append((name, member))
                else:
                    named[at >= len(keys.BUCKETS)].append(session)
    idle, old = (list(dict.fromkeys(found)) for found in named)
    return idle, old, garbage


async def _demote(commands: Commands, codec: Codec, names: list[SessionName]) -> tuple[int, int]:
    """Return how many sessions were demoted, and how many were set aside because they cannot be."""
    values = await commands.values(names)

    def move(item: tuple[SessionName, Any]) -> tuple[SessionName, tuple[Any, ...] | None]:
        name, reply = item
        value = checked_value(name, reply)
        return name, codec.move(value, COMPRESSED, name) if value else None

    moves = {name: found for name, found in readable(move, values) if found is not None}
    done = await commands.run_all((on("demote", name, *found) for name, found in moves.items()), tolerated=_PASSED_OVER)
    heads = [(name, reply[:_HEAD] if isinstance(reply, bytes) else b"") for name, reply in values if name not in moves]
    aside = await commands.run_all((on("set_aside", *each) for each in heads), tolerated=_PASSED_OVER)
    return done.count(1), aside.count(1)


async def _delete(commands: Commands, names: list[SessionName], bound: int | None) -> int:
    calls = [on("delete", name, "", bound) for name in names]
    done = await commands.run_all(calls, tolerated=_PASSED_OVER)
    deleted = [
        (name, answer[1])
        for name, answer in zip(names, done, strict=True)
        if isinstance(answer, list) and answer[0] == b"deleted"
    ]
    await commands.run_all(
        repair(header.pointer, name, header.score) for name, line in deleted if (header := Header.parsed(line))
    )
    return len(deleted)
