"""Text search on PostgreSQL ranks as the reference does, and in a large scope reads little of it."""

from __future__ import annotations

from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convostore.domain.text import Match, document, parse_query, ranked
from convostore.inmemory import InMemoryMemoryStore
from convostore.models.fields import LANGUAGES
from convostore.postgres import PostgresConfigStore, PostgresMemoryStore
from convostore.testing.factories import at, make_episode, make_rule
from tests.postgres.conftest import Pool

WORDS = ("tea", "milk", "sugar", "lemon", "龙游", "straße", "🎉")
SCORES = """
SELECT id, score
FROM convostore.scored_episodes($1, $2, $3, $4, $5, 'simple', $6, NULL, NULL, NULL, NULL, NULL, NULL, 100)
WHERE convostore.bind($1)
"""

texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)


@settings(max_examples=40, deadline=None)
@given(
    contents=st.lists(st.tuples(texts, st.booleans()), min_size=1, max_size=12),
    query=texts,
    match=st.sampled_from(["any", "all"]),
    customers=st.booleans(),
)
async def test_scores_are_those_of_the_reference(
    pool: Pool, contents: list[tuple[str, bool]], query: str, match: Match, customers: bool
) -> None:
    tenant, agent, customer = uuid4(), uuid4(), uuid4()
    episodes = [
        make_episode(tenant, agent, content=text, customer_profile_id=customer if theirs else None)
        for text, theirs in contents
    ]
    store, reference = PostgresMemoryStore(pool, timeout=60), InMemoryMemoryStore()
    for each in (store, reference):
        await each.add_episodes(episodes)
    only = customer if customers else None
    scope = {each.id: document(each.content) for each in episodes if not only or each.customer_profile_id}
    asked = parse_query(query, match=match)
    expected = ranked(asked, scope, scope.values()).found
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT convostore.bind($1)", tenant)
        terms = [*map(str, asked.terms)]
        found = await connection.fetch(SCORES, tenant, agent, str(asked), terms, match == "all", only)
    assert [row["id"] for row in found] == [key for key, _ in expected]
    assert [row["score"] for row in found] == pytest.approx([score for _, score in expected], abs=1e-6)
    for each in (store, reference):
        episodes = await each.text_search_episodes(
            query, tenant, agent, match=match, customer_profile_id=only, limit=100
        )
        assert [episode.id for episode in episodes] == [key for key, _ in expected]


@pytest.fixture(scope="module")
async def large(pool: Pool) -> tuple[PostgresMemoryStore, UUID, UUID, dict[str, Any]]:
    """An agent with 3,000 episodes, most of which say what is frequent, and the oldest of which are rare."""
    store, tenant, agent = PostgresMemoryStore(pool, timeout=60), uuid4(), uuid4()
    names = {"rare": "the zebra asks", "pair": "blue green", "french": "le pâté", "excluded": "zebra blue noise"}
    names["english"] = "her refunds are late"
    group = uuid4()
    more: dict[str, Any] = {"recorded_at": at(0), "group_id": group}
    rare = {
        name: make_episode(tenant, agent, content=text, language=name if name in LANGUAGES else "simple", **more)
        for name, text in names.items()
    }
    often = [
        make_episode(tenant, agent, content=f"{colour} shape {number % 7}", recorded_at=at(1 + number))
        for number, colour in product(range(1_500), ("blue", "green"))
    ]
    await store.add_episodes([*rare.values(), *often])
    return store, tenant, agent, rare


@pytest.mark.parametrize(
    ("query", "only", "first"),
    [
        ("what does the zebra ask", {}, "rare"),
        ("zebra -noise", {}, "rare"),
        ("blue and green", {}, "pair"),
        ("blue green", {"match": "all"}, "pair"),
        ("blue or noise", {}, "excluded"),
        ("pâté", {"language": "french"}, "french"),
        ("pâtés", {}, "french"),
        ("late refund", {}, "english"),
        ("late refund", {"match": "all"}, "english"),
    ],
)
async def test_what_is_rare_is_found_in_a_large_scope(large: Any, query: str, only: dict[str, Any], first: str) -> None:
    store, tenant, agent, rare = large
    found = await store.text_search_episodes(query, tenant, agent, **only)
    assert found[0] == rare[first]


async def test_a_group_of_a_large_agent_is_searched_exactly(large: Any) -> None:
    store, tenant, agent, rare = large
    group = rare["rare"].group_id
    found = await store.text_search_episodes("blue", tenant, agent, group_id=group)
    assert {each.id for each in found} == {rare["pair"].id, rare["excluded"].id}


async def test_words_that_no_text_has_and_stop_words_make_the_search_no_less_sure(pool: Pool) -> None:
    tenant, agent = uuid4(), uuid4()
    memory, config = PostgresMemoryStore(pool, timeout=60), PostgresConfigStore(pool, timeout=60, language="english")
    await memory.add_episodes([make_episode(tenant, agent, content="teas", language="english")])
    await config.save_rule(make_rule(tenant, agent, condition_text="teas"))
    for query in ("tea", "what about the tea", "tea and biscuits"):
        (hit,) = await memory.explain_episodes(query, [1.0], tenant, agent)
        ((_, score),) = await config.search_rules(query, [1.0], tenant, agent)
        assert [hit.text_part, score] == pytest.approx([0.5, 0.5], abs=1e-6)
