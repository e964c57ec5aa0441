"""A circuit breaker: open after several failures in a row, half-open after a pause."""

from __future__ import annotations

import time
from collections.abc import Callable

_FAILURES = 3
"""How many failures in a row open it."""


class Breaker:
    """Counts failures in a row, and says whether to try a call.

    Closed, it lets every call through. Open, it lets none through until a pause has passed; then it is half-open, and
    one call per pause is let through. A success closes it.

    Args:
        pause: how long it stays open, in seconds.
        clock: a monotonic clock, in seconds.

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
        """Return whether to try a call."""
        if self._in_a_row < _FAILURES:
            return True
        now = self._clock()
        if now >= self._open_until:
            self._open_until = now + self._pause
            return True
        self.skipped += 1
        return False

    def succeeded(self) -> None:
        """Note a success, which closes it."""
        self._in_a_row = 0

    def failed(self, *, in_a_row: bool = True) -> None:
        """Note a failure; one that does not bear on the next call does not count as in a row."""
        self.failures += 1
        if not in_a_row:
            return
        self._in_a_row += 1
        self._open_until = self._clock() + self._pause
