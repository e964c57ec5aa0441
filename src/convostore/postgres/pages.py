"""Pages of lists that are full although some of their rows cannot be read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Any, TypeVar

from convostore.domain.codec import readable

T = TypeVar("T")
P = TypeVar("P")


async def page(
    fetch: Callable[[P, int], Awaitable[Sequence[Any]]],
    read: Callable[[Any], T],
    position: Callable[[Any], P],
    *,
    after: P,
    limit: int | None,
    offset: int,
) -> list[T]:
    """Return a page of a list: rows that cannot be read are logged, and made up for by those that follow them.

    A page shorter than its limit is the last one, also for `iter_…`.

    Args:
        fetch: returns up to `limit` rows after a position and an offset.
        read: makes an item of a row.
        position: returns the position of a row.
        after: the position after which the page begins.
        limit: how many items the page has; None for all.
        offset: how many rows to skip.
    """
    found: list[T] = []
    while True:
        rows = await fetch(after, offset)
        found += islice(readable(read, rows), None if limit is None else limit - len(found))
        if limit is None or len(found) == limit or len(rows) < limit:
            return found
        after, offset = position(rows[-1]), 0
