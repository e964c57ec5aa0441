"""Lists as streams: page by page, each continued where the one before ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from convostore.models.base import Model

M = TypeVar("M", bound=Model)

PAGE = 200


async def stream(page: Callable[..., Awaitable[list[M]]]) -> AsyncIterator[M]:
    """Yield the items of a list, which `page(limit=…, after=…)` returns a part of."""
    last: M | None = None
    while True:
        items = await page(limit=PAGE, after=last)
        if items:
            # A copy, as the caller may change what it was given.
            last = items[-1].model_copy()
        for item in items:
            yield item
        if len(items) < PAGE:
            return
