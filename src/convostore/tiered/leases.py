"""Answers that may be used for a while after they were asked for."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Leases(Generic[K]):
    """One number per key, as it was less than a lease ago. What is older is forgotten.

    Args:
        seconds: the lease.
        clock: returns seconds that only grow.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._noted: OrderedDict[K, tuple[int | None, float]] = OrderedDict()

    def get(self, key: K) -> int | None:
        """Return the number, or None if it must be asked for."""
        number, asked_at = self._noted.get(key, (None, 0.0))
        return None if self._over(asked_at) else number

    def note(self, key: K, number: int, asked_at: float) -> None:
        """Keep an answer, unless the key was forgotten or a later question answered since it was asked for."""
        if asked_at > self._noted.get(key, (None, -math.inf))[1]:
            self._keep(key, number, asked_at)

    def forget(self, key: K) -> None:
        """Forget a number, and every answer to a question that was asked before."""
        self._keep(key, None, self._clock())

    def _keep(self, key: K, number: int | None, asked_at: float) -> None:
        self._noted[key] = (number, asked_at)
        self._noted.move_to_end(key)
        while self._noted and self._over(next(iter(self._noted.values()))[1]):
            self._noted.popitem(last=False)

    def _over(self, asked_at: float) -> bool:
        return self._clock() - asked_at > self._seconds
