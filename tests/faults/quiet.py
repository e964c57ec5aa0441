"""An event loop that is told of nothing: no exception was left unretrieved, no callback failed."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_loop() -> Iterator[None]:
    """Fail if anything is reported to the running loop's exception handler during a block, or by what it leaves."""
    loop, told = asyncio.get_running_loop(), list[dict[str, Any]]()
    before = loop.get_exception_handler()
    gc.collect()
    loop.set_exception_handler(lambda _, context: told.append(context))
    try:
        yield
        gc.collect()  # What nobody retrieved is reported when it is collected.
    finally:
        loop.set_exception_handler(before)
    assert not told, "\n".join(f"{context['message']}: {context!r}" for context in told)
