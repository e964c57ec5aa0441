"""Retries: calls that failed for a passing reason are repeated within their deadline, if that is harmless."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from convostore.call.call import Call, Proceed
from convostore.call.effects import Effect
from convostore.call.metrics import CALL_RETRIES
from convostore.errors import StoreError

_ATTEMPTS = 5
_FIRST_BACKOFF = 0.01
"""Seconds; doubled after each attempt, with a jitter of half as much in both directions."""


async def retry(call: Call, proceed: Proceed) -> Any:
    """Repeat a call that failed retryably, unless it may have been applied and is not idempotent.

    The error of the last attempt is raised. Its outcome is unknown if that of any attempt was: the answer of an earlier
    one may have been lost.
    """
    loop = asyncio.get_running_loop()
    attempt, unknown = 0, False
    while True:
        attempt += 1
        try:
            return await proceed(call)
        except StoreError as error:
            if not call.sent:
                error.outcome = "not_applied"
            unknown = unknown or error.outcome == "unknown"
            call.sent = unknown
            harmless = error.outcome == "not_applied" or call.effect is not Effect.NON_IDEMPOTENT
            pause = _FIRST_BACKOFF * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311
            in_time = attempt < _ATTEMPTS and loop.time() + pause < call.deadline
            # An error that names its call comes from a call inside this one, which has repeated it.
            if error.retryable and harmless and in_time and error.store is None:
                CALL_RETRIES.add(call.store, call.operation, type(error).__name__)
                await asyncio.sleep(pause)
                continue
            error.outcome = "unknown" if unknown and call.effect is not Effect.READ else "not_applied"
            raise
