"""How near two vectors are, and what is nearest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import mul
from typing import TypeVar

from convostore.models import Entity, Episode, Rule

T = TypeVar("T", Rule, Episode, Entity)

SCORE_DECIMALS = 6
"""Scores are rounded to this: float32 has about seven digits, and equal scores must tie on every backend."""


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the cosine similarity of two non-zero vectors of equal length, in [-1, 1], to six decimals."""
    dot = math.fsum(map(mul, a, b))
    length = math.sqrt(math.fsum(map(mul, a, a))) * math.sqrt(math.fsum(map(mul, b, b)))
    return round(max(-1.0, min(1.0, dot / length)), SCORE_DECIMALS)


def nearest(query: Sequence[float], items: Iterable[T], min_score: float) -> list[tuple[T, float]]:
    """Return the items whose embedding has the query's dimension, with their scores, best first, then by id."""
    scored = [
        (item, cosine(query, item.embedding))
        for item in items
        if item.embedding is not None and len(item.embedding) == len(query)
    ]
    scored = [(item, score) for item, score in scored if score >= min_score]
    scored.sort(key=lambda pair: (-pair[1], pair[0].id))
    return scored
