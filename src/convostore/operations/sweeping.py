"""Periodic maintenance: sweeps sessions, and creates partitions for the audit trail."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import datetime

from convostore.call.metrics import SWEEP_DURATION, SWEEP_SESSIONS, SWEEP_TIMESTAMP
from convostore.contracts.audit import AuditStore
from convostore.contracts.session import SessionStore, Swept
from convostore.errors import StoreError
from convostore.models.fields import now


async def sweep_once(store: SessionStore) -> Swept:
    """Sweep until nothing is left to do; return the total counts.

    Raises:
        StoreError: the store fails.
    """
    demoted = deleted = 0
    while any(swept := await store.sweep()):
        demoted, deleted = demoted + swept.demoted, deleted + swept.deleted
        SWEEP_SESSIONS.add("demoted", by=swept.demoted)
        SWEEP_SESSIONS.add("deleted", by=swept.deleted)
    return Swept(demoted, deleted)


async def sweep_for_ever(
    store: SessionStore,
    every: float,
    audit: AuditStore | None = None,
    finished: Callable[[datetime], None] = lambda _: None,
) -> None:
    """Sweep at this interval in seconds, with jitter, and create the partitions of the coming months.

    The store logs failures; the next interval retries.
    """
    SWEEP_TIMESTAMP.replace({(): time.time()})
    while True:
        await asyncio.sleep(every * random.uniform(0.9, 1.1))  # noqa: S311
        started, failure = time.perf_counter(), ""
        try:
            await sweep_once(store)
            if audit is not None:
                await audit.prepare_months()
            SWEEP_TIMESTAMP.replace({(): time.time()})
            finished(now())
        except StoreError as error:
            failure = type(error).__name__
        SWEEP_DURATION.record(time.perf_counter() - started, failure)
