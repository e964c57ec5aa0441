"""A circuit breaker: open after several failures in a row, half-open after a pause."""

from __future__ import annotations

import time
from collections.abc import Callable

from convostore.call.metrics import HOT_BYPASSED, HOT_FAILURES

_FAILURES = 3
"""How many failures in a row open it."""


class Attempt:
    """A call that the breaker let through, and its result, which is noted once.

    Args:
        breaker: what let it through.
        probe: whether it shows if the breaker may close.
    """

    def __init__(self, breaker: Breaker, *, probe: bool) -> None:
        self._breaker = breaker
        self._began = breaker.failures_in_a_row
        self._probe = probe

    def succeeded(self) -> None:
        """Note a success, which closes the breaker."""
        self._breaker.failures_in_a_row = 0

    def failed(self) -> None:
        """Note a failure. Of calls that ran side by side one counts: together they had bad luck once."""
        if self._began == self._breaker.failures_in_a_row:
            self._breaker.failures_in_a_row += 1
            self._breaker.pause()

    def ended(self) -> None:
        """Note that the call is over, whether or not its result is known: the next one may be a probe."""
        if self._probe:
            self._breaker.probing = False


class Breaker:
    """Counts failures in a row, and says whether to try a call.

    Closed, it lets every call through. Open, it lets none through until a pause has passed; then it is half-open, and
    lets one call through at a time, and one per pause. A success closes it.

    Args:
        pause: how long it stays open, in seconds.
        clock: a monotonic clock, in seconds.

    Attributes:
        failures: how many calls failed in all, those included that do not bear on the next one: see `count`.
        skipped: how many calls were not tried.
        failures_in_a_row: how many calls failed one after the other since the last success.
        probing: whether a call is under way that was let through while half-open.
    """

    def __init__(self, pause: float = 1.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures = 0
        self.skipped = 0
        self.failures_in_a_row = 0
        self.probing = False
        self._pause = pause
        self._clock = clock
        self._open_until = 0.0
        HOT_BYPASSED.watch(self, lambda breaker: {(): not breaker.is_closed})

    @property
    def is_closed(self) -> bool:
        """Whether every call is let through."""
        return self.failures_in_a_row < _FAILURES

    def count(self, code: str) -> None:
        """Count a failure by its code."""
        self.failures += 1
        HOT_FAILURES.add(code)

    def skips(self) -> bool:
        """Return whether a call is not to be tried now."""
        skips = not self.is_closed and (self.probing or self._clock() < self._open_until)
        self.skipped += skips
        return skips

    def attempt(self) -> Attempt | None:
        """Return an attempt of a call, or None if it is not to be tried."""
        if self.is_closed:
            return Attempt(self, probe=False)
        if self.skips():
            return None
        self.probing = True
        self.pause()
        return Attempt(self, probe=True)

    def pause(self) -> None:
        """Let no call through for a pause, if it is open."""
        self._open_until = self._clock() + self._pause
