"""Lists as streams, page by page with keyset pagination: each page starts after the last item of the one before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from convostore.models.base import Model

M = TypeVar("M", bound=Model)

PAGE = 200


async def paginate(page: Callable[..., Awaitable[list[M]]], after: M | None = None) -> AsyncIterator[M]:
    """Yield the items behind a cursor of a list of which `page(limit=…, after=…)` returns a part."""
    cursor = after
    while True:
        items = await page(limit=PAGE, after=cursor)
        if items:
            # A copy: the caller may change the item it is given.
            cursor = items[-1].model_copy()
        for item in items:
            yield item
        if len(items) < PAGE:
            return
