"""Answers that may be reused for a lease after they were asked for."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Leases(Generic[K]):
    """One number per key, valid for a lease from the moment it was asked for. Expired numbers are removed.

    Args:
        seconds: the lease.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._noted: OrderedDict[K, tuple[int | None, float]] = OrderedDict()

    def get(self, key: K) -> int | None:
        """Return the number, or None if it is unknown or expired."""
        number, asked_at = self._noted.get(key, (None, 0.0))
        return None if self._is_over(asked_at) else number

    def note(self, key: K, number: int, asked_at: float) -> None:
        """Keep an answer, unless a later one is known or the key was forgotten after it was asked for."""
        if asked_at > self._noted.get(key, (None, -math.inf))[1]:
            self._keep(key, number, asked_at)

    def forget(self, key: K) -> None:
        """Remove a number, and ignore answers that were asked for before now."""
        self._keep(key, None, self._clock())

    def _keep(self, key: K, number: int | None, asked_at: float) -> None:
        self._noted[key] = (number, asked_at)
        self._noted.move_to_end(key)
        while self._noted and self._is_over(next(iter(self._noted.values()))[1]):
            self._noted.popitem(last=False)

    def _is_over(self, asked_at: float) -> bool:
        return self._clock() - asked_at > self._seconds
