"""An interceptor that measures the duration of each call."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from convostore.call.call import Call, Proceed


class Measure:
    """Records the duration of every call that succeeds.

    Attributes:
        durations: seconds of every call, by store and method.
    """

    def __init__(self) -> None:
        self.durations: defaultdict[tuple[str, str], list[float]] = defaultdict(list)

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Run a call."""
        started = time.perf_counter()
        result = await proceed(call)
        self.durations[call.store, call.operation].append(time.perf_counter() - started)
        return result
