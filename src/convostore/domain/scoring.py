"""How near two vectors are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul

SCORE_DECIMALS = 6
"""Scores are rounded to this: float32 has about seven digits, and equal scores must tie on every backend."""


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the cosine similarity of two non-zero vectors of equal length, in [-1, 1], to six decimals."""
    dot = math.fsum(map(mul, a, b))
    length = math.sqrt(math.fsum(map(mul, a, a))) * math.sqrt(math.fsum(map(mul, b, b)))
    return round(max(-1.0, min(1.0, dot / length)), SCORE_DECIMALS)
