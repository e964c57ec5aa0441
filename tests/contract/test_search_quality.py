"""Hybrid search on the labelled set of `bench.labelled`: better than either leg, and little worse when one is noise.

docs/explanation/search-figures.md has all figures.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from bench.labelled import Labelled, labelled, noisy
from bench.search import Search, qualities, searches
from convostore.embedded import Embedded
from convostore.inmemory import InMemoryMemoryStore
from convostore.postgres import PostgresMemoryStore, create_pool


class Searched(NamedTuple):
    """The labelled set in a store, the ways to search it, and the recall@10 of each."""

    made: Labelled
    ways: dict[str, Search]
    recall: dict[str, float]


SETS = [
    pytest.param(("postgres", "english", 1), id="postgres, english"),
    pytest.param(("postgres", "english", 4), id="postgres, english, all", marks=pytest.mark.trust),
    pytest.param(("postgres", "simple", 4), id="postgres, simple", marks=pytest.mark.trust),
    pytest.param(
        ("reference", "simple", 4), id="reference, simple", marks=[pytest.mark.trust, pytest.mark.timeout(600)]
    ),
]
"""Backends, languages and numbers of customers."""


@pytest.fixture(scope="module", params=SETS)
async def searched(request: pytest.FixtureRequest, engines: Embedded) -> AsyncIterator[Searched]:
    backend, language, customers = request.param
    made = labelled(customers=customers, language=language)
    async with await create_pool(engines.postgres_dsn) as pool:
        store = PostgresMemoryStore(pool) if backend == "postgres" else InMemoryMemoryStore()
        await store.add_episodes(made.episodes)
        ways = searches(store, made)
        legs = ("text any", "vectors", "hybrid")
        yield Searched(
            made, ways, {name: (await qualities(ways[name], made.questions))["all"].recall10 for name in legs}
        )
        # The sets have the same ids.
        for customer in {question.customer_profile_id for question in made.questions}:
            await store.delete_by_customer(made.tenant_id, customer)


async def test_hybrid_search_finds_more_than_text_or_vectors_alone(searched: Searched) -> None:
    assert searched.recall["hybrid"] > max(searched.recall["text any"], searched.recall["vectors"])


@pytest.mark.parametrize(("share", "lost"), [(0.5, 0.03), (1.0, 0.05)], ids=["half", "random"])
async def test_noise_in_vectors_costs_little_of_what_text_finds(searched: Searched, share: float, lost: float) -> None:
    kept = await qualities(searched.ways["hybrid"], noisy(searched.made, "vectors", share))
    assert kept["all"].recall10 >= searched.recall["text any"] - lost


@pytest.mark.parametrize(("share", "lost"), [(0.5, 0.03), (1.0, 0.05)], ids=["half", "random"])
async def test_noise_in_words_costs_little_of_what_vectors_find(searched: Searched, share: float, lost: float) -> None:
    kept = await qualities(searched.ways["hybrid"], noisy(searched.made, "words", share))
    assert kept["all"].recall10 >= searched.recall["vectors"] - lost
