"""How words and meaning make one score, and what changes the order afterwards."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from convostore.domain.scoring import SCORE_DECIMALS

K = TypeVar("K", bound=Hashable)

CANDIDATES = 100
"""How many results of each search are fused: 50 and 100 were measured alike."""
CONTEXT_SHARE = 0.3
"""The part of its score that an episode lends to the one before and after it; to those farther away, powers of it."""
ENOUGH = 0.7
"""The share of a query's weight from which on the text search is sure of what it found."""
_SCALE = 10.0**SCORE_DECIMALS


@dataclass(frozen=True, slots=True)
class Parts:
    """How the score of an episode came about."""

    text_score: float | None = None
    """BM25; None if the text does not match, or is not among the candidates of the text search."""
    text_rank: int | None = None
    vector_score: float | None = None
    """Cosine similarity; None without an embedding of the query's space."""
    vector_rank: int | None = None
    text_part: float = 0.0
    vector_part: float = 0.0
    recency: float = 1.0
    context_part: float = 0.0

    @property
    def own(self) -> float:
        """The score without what neighbours lend."""
        return (self.text_part + self.vector_part) * self.recency

    @property
    def score(self) -> float:
        """The score, to six decimals."""
        # In this form PostgreSQL rounds alike: numeric rounds ties away from zero.
        return round((self.own + self.context_part) * _SCALE) / _SCALE


def fused(
    by_text: Sequence[tuple[K, float]],
    by_vector: Sequence[tuple[K, float]],
    similarities: Mapping[K, float],
    weights: tuple[float, float] = (0.5, 0.5),
    *,
    share: float,
) -> dict[K, Parts]:
    """Return the parts of the score of all that either search found: a convex combination of normalised scores.

    Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", ACM TOIS 42(1), 2023: scores say how
    sure a search is, which ranks forget. So does min-max normalisation: the best of a poor search has 1, as has that of
    a good one. Each is therefore multiplied by how sure the search is, and squared first, because the
    middle of a search is mostly noise (docs/decisions/0034).

    Args:
        by_text: What the text search found with BM25, best first. Anything else has none of its terms: 0.
        by_vector: What the vector search found with cosine similarities, best first.
        similarities: The cosine similarity of everything that either found and that has an embedding.
        weights: Of text and vector; only their ratio counts.
        share: How much the best of the text search has of what the terms weigh that are in the scope: from `ENOUGH` on,
            it is sure of it. The vector search is as sure as its best similarity.
    """
    text = {key: (rank, score) for rank, (key, score) in enumerate(by_text, start=1)}
    ranks = {key: rank for rank, (key, _) in enumerate(by_vector, start=1)}
    similarities = {**dict(by_vector), **similarities}
    keys = dict.fromkeys([*text, *ranks])
    spread = _normalised({key: similarities[key] for key in keys if key in similarities})
    of_text = weights[0] / (weights[0] + weights[1])
    sure_of_text = min(1.0, share / ENOUGH) ** 2
    sure_of_vector = max([0.0, *similarities.values()])
    return {
        key: Parts(
            text_rank=text[key][0] if key in text else None,
            text_score=text[key][1] if key in text else None,
            vector_rank=ranks.get(key),
            vector_score=similarities.get(key),
            text_part=of_text * sure_of_text * (text[key][1] / by_text[0][1]) ** 2 if key in text else 0.0,
            vector_part=(1 - of_text) * sure_of_vector * spread.get(key, 0.0) ** 2,
        )
        for key in keys
    }


def with_recency(
    parts: Mapping[K, Parts], occurred_at: Mapping[K, datetime], at: datetime, half_life: timedelta
) -> dict[K, Parts]:
    """Return the parts with scores that halve with every half-life of age; what is to come counts as new."""
    return {
        key: replace(found, recency=0.5 ** (max(at - occurred_at[key], timedelta()) / half_life))
        for key, found in parts.items()
    }


def with_context(parts: Mapping[K, Parts], neighbours: Mapping[K, Iterable[tuple[K, int]]]) -> dict[K, Parts]:
    """Return the parts with what neighbours lend, and those of neighbours that no search found themselves.

    The answer is often the turn after the one that has the words of the question.

    Args:
        parts: What was found.
        neighbours: Of everything found, the turns around it in its session, and their distances of 1 and more.
    """
    lent: dict[K, float] = dict.fromkeys(parts, 0.0)
    for key, found in parts.items():
        for neighbour, distance in neighbours.get(key, ()):
            lent[neighbour] = lent.get(neighbour, 0.0) + found.own * CONTEXT_SHARE**distance
    return {key: replace(parts.get(key, Parts()), context_part=part) for key, part in lent.items()}


def neighbours_in(sessions: Iterable[Sequence[K]], most: int) -> dict[K, list[tuple[K, int]]]:
    """Return of every turn those around it in its session, at most so many on each side, with their distances.

    Args:
        sessions: The turns of each session, in their order.
        most: How many on each side.
    """
    return {
        key: [
            (turns[other], abs(place - other))
            for other in range(max(0, place - most), min(len(turns), place + most + 1))
            if other != place
        ]
        for turns in sessions
        for place, key in enumerate(turns)
    }


def diversified(
    scores: Sequence[tuple[K, float]], similarity: Callable[[K, K], float], diversity: float, most: int
) -> list[tuple[K, float]]:
    """Return at most so many in an order in which each is good and unlike those before it: maximal marginal relevance.

    Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing
    Summaries", SIGIR 1998, with lambda = 1 - diversity.

    Args:
        scores: What was found with its scores, of any scale, best first.
        similarity: How alike two of them are, from -1 to 1; 0 if it is not known.
        diversity: 0 leaves the order, 1 asks only for unlikeness after the first.
        most: How many are wanted.
    """
    if not diversity:
        return [*scores[:most]]
    left, chosen = dict(scores), list[tuple[K, float]]()
    relevance = _normalised(left)
    nearest: dict[K, float] = {}
    while left and len(chosen) < most:
        # Of those that tie, the first is the best by score.
        best = next(iter(left))
        if chosen:
            best = max(left, key=lambda key: (1 - diversity) * relevance[key] - diversity * nearest[key])
        chosen.append((best, left.pop(best)))
        nearest = {key: max(nearest.get(key, -1.0), similarity(key, best)) for key in left}
    return chosen


def _normalised(scores: Mapping[K, float]) -> dict[K, float]:
    """Return scores between 0, the lowest, and 1, the highest; all are 1 if they are equal."""
    if not scores:
        return {}
    low, high = min(scores.values()), max(scores.values())
    return {key: (score - low) / (high - low) if high > low else 1.0 for key, score in scores.items()}
