"""A page of an index that is spread over 64 buckets, in two round trips."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, inf, sqrt
from typing import Any
from uuid import UUID

from convostore.redis import keys
from convostore.redis.commands import Commands
from convostore.redis.scripts import script


async def page(commands: Commands, indexes: Iterable[str], limit: int, offset: int) -> tuple[list[bytes], int]:
    """Return values that include those of the page, unordered, and how many to skip once they are ordered.

    The first trip reads the first few entries in every bucket. The second reads the values and, from the buckets whose
    entries may not be enough for the page, further entries with their values.

    Args:
        commands: the client.
        indexes: the names of the indexes within a bucket, whose union is the list.
        limit: of the page.
        offset: of the page.
    """
    wanted = offset + limit
    few = min(wanted, _few(wanted))
    names = [f"{bucket}{index}" for index in indexes for bucket in keys.BUCKETS]
    listed = [
        _scored(reply) for reply in await commands.send([("ZRANGE", name, 0, few - 1, "WITHSCORES") for name in names])
    ]
    entries = sorted(entry for found in listed for entry in found)[:wanted]
    last = entries[-1][0] if len(entries) == wanted else inf
    incomplete = [
        name for name, found in zip(names, listed, strict=True) if len(found) == few < wanted and found[-1][0] <= last
    ]
    if not incomplete:
        return await commands.values(UUID(member.decode()) for _, member in entries[offset:]), 0
    highest = "+inf" if last == inf else f"{last:.0f}"
    replies = await commands.send(
        [
            *(("GET", keys.value_key(UUID(member.decode()))) for _, member in entries),
            # By text: NOSCRIPT would cost a third trip.
            *(script("page").by_text(name, keys.prefix_of(name), few, wanted - few, highest) for name in incomplete),
        ]
    )
    values = [value for value in replies[: len(entries)] if value]
    values += [value for found in replies[len(entries) :] for value in found if value]
    return values, offset


def _scored(reply: list[Any]) -> list[tuple[float, bytes]]:
    """Return the scores and members in a reply of ZRANGE, which has pairs in RESP3 and a flat list in RESP2."""
    pairs = reply if reply and isinstance(reply[0], list) else zip(reply[::2], reply[1::2], strict=True)
    return [(float(score), member) for member, score in pairs]


def _few(wanted: int) -> int:
    """Return how many entries to read per bucket, so that about one bucket in a thousand has more of the page.

    A bucket's share of the page is close to a Poisson variable: its mean and three standard deviations.
    """
    share = wanted / len(keys.BUCKETS)
    return ceil(share + 3 * sqrt(share)) + 1
