"""Sweeping sessions, once or for ever."""

from __future__ import annotations

import asyncio
import random

from convostore.contracts.session import SessionStore, Swept
from convostore.errors import StoreError


async def sweep_once(store: SessionStore) -> Swept:
    """Sweep until there is nothing left to do; return what was done.

    Raises:
        StoreError: the store fails.
    """
    demoted = deleted = 0
    while any(swept := await store.sweep()):
        demoted, deleted = demoted + swept.demoted, deleted + swept.deleted
    return Swept(demoted, deleted)


async def sweep_for_ever(store: SessionStore, every: float) -> None:
    """Sweep again and again, at about this interval in seconds; failures are logged by the store and tried again."""
    while True:
        await asyncio.sleep(every * random.uniform(0.9, 1.1))  # noqa: S311
        try:
            await sweep_once(store)
        except StoreError:
            continue
