"""`python -m bench.search`: what text, vector and hybrid search find on the labelled set (bench/labelled.py).

Every search goes through the public methods with their defaults, on the in-memory reference and on PostgreSQL, within
one customer's episodes. Relevant episodes are counted as found in the first 5 and 10; MRR is of the first relevant one.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from statistics import fmean
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

from rich.console import Console
from rich.table import Table

from bench.labelled import KINDS, MODEL, Labelled, Question, labelled, noisy
from convostore import open_stores
from convostore.contracts import MemoryStore
from convostore.models.fields import Language

FOUND = 10

NOISY: tuple[tuple[Literal["words", "vectors"], str, str], ...] = (
    ("words", "text any", "vectors"),
    ("vectors", "vectors", "text any"),
)
"""What is noisy, the search that suffers, and the one that does not."""

Search: TypeAlias = Callable[[Question], Awaitable[Sequence[UUID]]]


class Quality(NamedTuple):
    """Means over questions."""

    recall5: float
    recall10: float
    mrr: float


def searches(store: MemoryStore, made: Labelled, weights: tuple[float, float] = (0.5, 0.5)) -> dict[str, Search]:
    """Return the ways to search by name; each returns ids, best first. The weights are those of hybrid search."""
    tenant, agent = made.tenant_id, made.agent_id

    async def text_any(question: Question) -> list[UUID]:
        found = await store.text_search_episodes(
            question.text, tenant, agent, customer_profile_id=question.customer_profile_id, limit=FOUND
        )
        return [episode.id for episode in found]

    async def text_all(question: Question) -> list[UUID]:
        found = await store.text_search_episodes(
            question.text, tenant, agent, customer_profile_id=question.customer_profile_id, limit=FOUND, match="all"
        )
        return [episode.id for episode in found]

    async def vectors(question: Question) -> list[UUID]:
        found = await store.vector_search_episodes(
            question.embedding,
            tenant,
            agent,
            customer_profile_id=question.customer_profile_id,
            embedding_model=MODEL,
            limit=FOUND,
        )
        return [episode.id for episode, _ in found]

    async def hybrid(question: Question) -> list[UUID]:
        found = await store.search_episodes(
            question.text,
            question.embedding,
            tenant,
            agent,
            customer_profile_id=question.customer_profile_id,
            embedding_model=MODEL,
            weights=weights,
            limit=FOUND,
        )
        return [episode.id for episode, _ in found]

    return {"text all": text_all, "text any": text_any, "vectors": vectors, "hybrid": hybrid}


async def qualities(search: Search, questions: Iterable[Question]) -> dict[str, Quality]:
    """Return how well a search answers questions, by their kind, and all."""
    each = [(question.kind, _quality(await search(question), question.relevant)) for question in questions]
    return {
        kind: Quality(*map(fmean, zip(*(found for of, found in each if kind in (of, "all")), strict=True)))
        for kind in (*KINDS, "all")
    }


def _quality(found: Sequence[UUID], relevant: frozenset[UUID]) -> Quality:
    ranks = [rank for rank, key in enumerate(found, start=1) if key in relevant]
    within = {most: sum(rank <= most for rank in ranks) / len(relevant) for most in (5, FOUND)}
    return Quality(within[5], within[FOUND], 1 / ranks[0] if ranks else 0.0)


async def measure(store: MemoryStore, made: Labelled, title: str, weights: tuple[float, float]) -> Iterable[Table]:
    """Return what each search finds by kind of question, and what hybrid search keeps when one leg is noise."""
    await store.add_episodes(made.episodes)
    ways = searches(store, made, weights)
    by_kind = Table("search", title=f"{title}: recall@5 / recall@10 / MRR")
    for kind in (*KINDS, "all"):
        by_kind.add_column(kind, justify="right", no_wrap=True)
    clean = {name: await qualities(search, made.questions) for name, search in ways.items()}
    for name, found in clean.items():
        by_kind.add_row(name, *(" / ".join(f"{value:.3f}" for value in quality) for quality in found.values()))
    robust = Table("noise", "noisy leg", "other leg", "hybrid", "difference", title=f"{title}: recall@10 with noise")
    for leg, noisy_leg, other in NOISY:
        for share in (0.5, 1.0):
            questions = noisy(made, leg, share)
            disturbed, kept = [
                (await qualities(ways[name], questions))["all"].recall10 for name in (noisy_leg, "hybrid")
            ]
            left = clean[other]["all"].recall10
            robust.add_row(
                f"{leg}, {share:.0%}", f"{disturbed:.3f}", f"{other} {left:.3f}", f"{kept:.3f}", f"{kept - left:+.3f}"
            )
    return by_kind, robust


async def main() -> None:
    arguments = _parser().parse_args()
    console = Console()
    runs: list[tuple[Literal["memory", "engines"], Language]] = [
        ("memory", "simple"),
        ("engines", "simple"),
        ("engines", "english"),
    ]
    for backend, language in runs:
        made = labelled(language=language, seed=arguments.seed)
        title = f"{backend}, {language}, {len(made.questions)} questions, {len(made.episodes)} episodes"
        async with open_stores(backend=backend, ephemeral=backend == "engines") as stores:
            for table in await measure(stores.memory, made, title, (arguments.words, 1 - arguments.words)):
                (console if console.is_terminal else Console(width=120)).print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.search", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--words", type=float, default=0.5, help="the weight of words in hybrid search, 0 to 1")
    return parser


if __name__ == "__main__":
    asyncio.run(main())
