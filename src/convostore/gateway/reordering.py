"""What orders the best candidates of a hybrid search anew: a reranker, and diversity."""

from __future__ import annotations

import asyncio
import logging
from math import dist, hypot, isfinite

from convostore.call.call import current_call
from convostore.contracts.episode_search import Reranker
from convostore.domain.fusion import diversified
from convostore.models import Episode, SearchHit

RESERVE = 0.05
"""Seconds of the call's time that a reranker is not given: for what is left to do without it."""


async def reranked(query: str, hits: list[SearchHit], rerank: Reranker) -> list[SearchHit]:
    """Return hits with the reranker's numbers for scores, best first; as they are if it fails, which is logged."""
    call = current_call()
    try:
        async with asyncio.timeout_at(call.deadline - RESERVE):
            scores = [float(score) for score in await rerank(query, [hit.episode for hit in hits])]
        if len(scores) != len(hits) or not all(map(isfinite, scores)):
            raise ValueError("not one finite number for each episode")
    except Exception as failure:  # noqa: BLE001  (whatever it is, there is an order without it)
        logging.getLogger(f"convostore.{call.store}").warning(
            "%s.%s: rerank failed (%s), the order stays as it was",
            *(call.store, call.operation, type(failure).__name__),
            extra={
                "store": call.store,
                "operation": call.operation,
                "tenant_id": call.tenant_id and str(call.tenant_id),
            },
        )
        return hits
    found = [
        hit.model_copy(update={"score": score, "rerank_score": score}) for hit, score in zip(hits, scores, strict=True)
    ]
    return sorted(found, key=lambda hit: -hit.score)


def diverse(hits: list[SearchHit], diversity: float, most: int) -> list[SearchHit]:
    """Return the first of the hits, at most so many, in an order in which each is unlike those before it."""
    directions = [_direction(hit.episode) for hit in hits]

    def similarity(one: int, other: int) -> float:
        (a, model), (b, other_model) = directions[one], directions[other]
        # The cosine of vectors of length 1 by their distance, which Python computes in C.
        return 1 - dist(a, b) ** 2 / 2 if model == other_model and a and len(a) == len(b) else 0.0

    scores = [(place, hit.score) for place, hit in enumerate(hits)]
    return [hits[place] for place, _ in diversified(scores, similarity, diversity, most)]


def _direction(episode: Episode) -> tuple[tuple[float, ...], str | None]:
    """Return an embedding of length 1, and its model."""
    vector = episode.embedding or []
    length = hypot(*vector)
    return tuple(value / length for value in vector), episode.embedding_model
