"""Vector search over lists, for the reference."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from convostore.domain import scoring
from convostore.inmemory.table import copied
from convostore.models import Entity, Episode, Rule

T = TypeVar("T", Rule, Episode, Entity)


def nearest(query: list[float], items: Iterable[T], min_score: float) -> list[tuple[T, float]]:
    """Return copies of the items whose embedding has the query's dimension, with their scores, best first."""
    return [(copied(item), score) for item, score in scoring.nearest(query, items, min_score)]
