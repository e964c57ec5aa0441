"""A circuit breaker: what has failed is left alone for a while, then tried by one call at a time."""

from __future__ import annotations

import time
from collections.abc import Callable

_FAILURES = 3
"""How many failures in a row open it."""


class Breaker:
    """Counts failures in a row and says whether to try.

    Args:
        pause: how long to leave it alone, in seconds.
        clock: returns seconds that only grow.

    Attributes:
        failures: how many calls failed in all.
        skipped: how many calls were not tried.
    """

    def __init__(self, pause: float = 1.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures = 0
        self.skipped = 0
        self._pause = pause
        self._clock = clock
        self._in_a_row = 0
        self._open_until = 0.0

    def try_it(self) -> bool:
        """Return whether to try; while it is open, one call is let through after each pause."""
        if self._in_a_row < _FAILURES:
            return True
        now = self._clock()
        if now >= self._open_until:
            self._open_until = now + self._pause
            return True
        self.skipped += 1
        return False

    def succeeded(self) -> None:
        """Note a success: everything is tried again."""
        self._in_a_row = 0

    def failed(self, *, in_a_row: bool = True) -> None:
        """Note a failure, in a row with others or one that says nothing about the next call."""
        self.failures += 1
        if not in_a_row:
            return
        self._in_a_row += 1
        self._open_until = self._clock() + self._pause
