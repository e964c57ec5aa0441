"""A page of a sorted index that lies in 64 buckets, in two round trips."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, inf, sqrt
from typing import Any
from uuid import UUID

from convostore.redis import keys
from convostore.redis.commands import Commands
from convostore.redis.scripts import script


async def page(commands: Commands, indexes: Iterable[str], limit: int, offset: int) -> tuple[list[bytes], int]:
    """Return values of an index's first sessions, unordered, and how many of the best among them to skip.

    The first trip asks every bucket for a few entries, the second for the values and, where a bucket may have more that
    belong to the page, for those with their values.

    Args:
        commands: the client.
        indexes: the names of the index within a bucket; one after another they make up the list.
        limit: how many sessions the page has.
        offset: how many come before it.
    """
    wanted = offset + limit
    few = min(wanted, _few(wanted))
    names = [f"{bucket}{index}" for index in indexes for bucket in keys.BUCKETS]
    listed = [
        _scored(answer)
        for answer in await commands.send([("ZRANGE", name, 0, few - 1, "WITHSCORES") for name in names])
    ]
    entries = sorted(entry for found in listed for entry in found)[:wanted]
    last = entries[-1][0] if len(entries) == wanted else inf
    unsure = [
        name for name, found in zip(names, listed, strict=True) if len(found) == few < wanted and found[-1][0] <= last
    ]
    if not unsure:
        return await commands.values(UUID(member.decode()) for _, member in entries[offset:]), 0
    highest = "+inf" if last == inf else f"{last:.0f}"
    answers = await commands.send(
        [
            *(("GET", keys.value_key(UUID(member.decode()))) for _, member in entries),
            *(script("page").by_text(name, keys.prefix_of(name), few, wanted - few, highest) for name in unsure),
        ]
    )
    values = [value for value in answers[: len(entries)] if value]
    values += [value for found in answers[len(entries) :] for value in found if value]
    return values, offset


def _scored(answer: list[Any]) -> list[tuple[float, bytes]]:
    """Return the scores and members of a sorted set, which RESP3 pairs and RESP2 does not."""
    pairs = answer if answer and isinstance(answer[0], list) else zip(answer[::2], answer[1::2], strict=True)
    return [(float(score), member) for member, score in pairs]


def _few(wanted: int) -> int:
    """Return how many of so many sessions one bucket has at most, but for about one list in a thousand.

    Sessions fall into buckets at random, so a bucket's share is close to a Poisson variable: three deviations above it.
    """
    share = wanted / len(keys.BUCKETS)
    return ceil(share + 3 * sqrt(share)) + 1
