"""The deadline of a call: one, around everything that it does and waits for."""

from __future__ import annotations

import asyncio
from typing import Any

from convostore.call.call import Call, Proceed
from convostore.call.effects import Effect
from convostore.errors import ConnectionError

DEFAULT_TIMEOUT = 5.0
"""Seconds that a call has, unless its store or `within` says otherwise."""


async def keep_deadline(call: Call, proceed: Proceed) -> Any:
    """Cancel what is not done at the deadline.

    Raises:
        ConnectionError: the deadline has passed.
    """
    started = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(call.deadline):
            return await proceed(call)
    except TimeoutError as error:
        raise ConnectionError(
            f"The call did not finish in its {round(call.deadline - started, 2):g} s; "
            "`within(seconds)` gives it another deadline.",
            outcome="unknown" if call.sent and call.effect is not Effect.READ else "not_applied",
            code="timeout",
        ) from error
