"""Hybrid search on PostgreSQL ranks as the reference does, part by part."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convostore.domain.fusion import Parts
from convostore.inmemory import InMemoryMemoryStore
from convostore.models import SearchHit
from convostore.postgres import PostgresMemoryStore
from convostore.postgres.hybrid import PARTS
from convostore.testing.factories import at, make_episode
from tests.postgres.conftest import Pool

WORDS = ("tea", "milk", "sugar", "lemon")
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)
vectors = st.none() | st.sampled_from([[1.0, 0.0], [0.9, 0.3], [0.6, 0.8], [0.0, 1.0], [-0.5, 0.7], [1.0]])
moments = st.integers(0, 6).map(at)
turns = st.fixed_dictionaries(
    {
        "content": texts,
        "embedding": vectors,
        "occurred_at": moments,
        "recorded_at": moments,
        "session_id": st.none() | st.sampled_from([UUID(int=1), UUID(int=2)]),
    },
    optional={"customer_profile_id": st.just(UUID(int=3)), "content_type": st.just("fact")},
)
options = st.fixed_dictionaries(
    {"context": st.integers(0, 3), "min_score": st.sampled_from([-1.0, 0.0, 0.7])},
    optional={
        "weights": st.sampled_from([(0.3, 0.7), (1.0, 0.0), (2.0, 1.0)]),
        "half_life": st.integers(1, 9).map(lambda seconds: timedelta(seconds=seconds)),
        "diversity": st.sampled_from([0.3, 1.0]),
        "customer_profile_id": st.just(UUID(int=3)),
        "session_id": st.just(UUID(int=1)),
        "content_type": st.just("message"),
        "since": moments,
        "prefix": st.booleans(),
    },
)


def numbers(hit: SearchHit) -> list[float | None]:
    return [hit.score, *(getattr(hit, part) for part in PARTS)]


def test_a_hit_has_every_part() -> None:
    assert (
        set(PARTS)
        == set(Parts.__slots__)
        == SearchHit.model_fields.keys() - {*("episode", "rank", "score", "rerank_score")}
    )


@settings(max_examples=40, deadline=None)
@given(contents=st.lists(turns, min_size=1, max_size=12), query=texts, asked=options)
async def test_the_parts_are_those_of_the_reference(
    pool: Pool, contents: list[dict[str, Any]], query: str, asked: dict[str, Any]
) -> None:
    tenant, agent = uuid4(), uuid4()
    episodes = [make_episode(tenant, agent, **content) for content in contents]
    found = []
    for store in (PostgresMemoryStore(pool, timeout=60), InMemoryMemoryStore()):
        await store.add_episodes(episodes)
        found.append(await store.explain_episodes(query, [0.8, 0.6], tenant, agent, **asked, as_of=at(6), limit=100))
    actual, expected = found
    assert [(hit.rank, hit.episode) for hit in actual] == [(hit.rank, hit.episode) for hit in expected]
    for one, other in zip(actual, expected, strict=True):
        assert numbers(one) == [value if value is None else pytest.approx(value, abs=1e-6) for value in numbers(other)]
