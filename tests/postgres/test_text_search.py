"""Text search on PostgreSQL: any query, any text, other languages, and nothing of other tenants."""

from __future__ import annotations

from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convostore.models.fields import LANGUAGES
from convostore.postgres import PostgresMemoryStore
from convostore.testing.factories import make_episode
from tests.postgres.conftest import Pool
from tests.unit.strategies import CHARACTERS, QUICK

# fmt: off
PIECES = (
    "tea", '"', "'", "-", "or", "OR", "|", "&", "!", "(", ")", ":*", "<->", "\\", "\\'", "👩‍👩‍👧‍👦", "İ", "ﬀ", "\u202e",
    "é", "a@b.c", "http://x/y'z", "1e9", "-1", "x" * 2_100, "日本", "\t", "\n", "%", "_", "*", "<b>", "&amp;", "to-be",
    "$1",
)
# fmt: on
NASTY = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(CHARACTERS, max_size=40)


@pytest.fixture(scope="module")
async def found(pool: Pool) -> tuple[PostgresMemoryStore, UUID, UUID]:
    """A store with one episode, its tenant and its agent."""
    store, tenant, agent = PostgresMemoryStore(pool, timeout=30), uuid4(), uuid4()
    await store.add_episode(make_episode(tenant, agent))
    return store, tenant, agent


@QUICK
@given(query=NASTY, separator=st.sampled_from(["", " "]), prefix=st.booleans(), language=st.sampled_from(LANGUAGES))
async def test_no_query_is_an_error(
    found: tuple[PostgresMemoryStore, UUID, UUID], query: str, separator: str, prefix: bool, language: str
) -> None:
    store, tenant, agent = found
    query = separator.join(query)
    assert len(await store.text_search_episodes(query, tenant, agent, prefix=prefix, language=language)) <= 1
    assert len(await store.search_episodes(query, [1.0], tenant, agent, prefix=prefix, language=language)) <= 1


@QUICK
@given(content=NASTY)
async def test_any_text_can_be_stored_and_found_by_itself_or_not_at_all(pool: Pool, content: str) -> None:
    store, tenant, agent = PostgresMemoryStore(pool, timeout=30), uuid4(), uuid4()
    await store.add_episode(make_episode(tenant, agent, content=f"tea {content}"))
    assert len(await store.text_search_episodes("tea", tenant, agent)) <= 1


@pytest.mark.parametrize("word", ["a", "ab", "wort"])
async def test_the_longest_queries_and_texts_are_accepted(pool: Pool, word: str) -> None:
    store, tenant, agent = PostgresMemoryStore(pool, timeout=60), uuid4(), uuid4()
    many = " ".join(f"{word}{number}" for number in range(1_000_000 // (len(word) + 7)))
    episode = make_episode(tenant, agent, content=many)
    await store.add_episode(episode)
    assert await store.text_search_episodes(f"{word}7", tenant, agent) == [episode]
    for match in ("any", "all"):
        assert await store.text_search_episodes(many, tenant, agent, match=match, prefix=True) == [episode]
    assert await store.text_search_episodes(f"nowhere {many[:9_900]}", tenant, agent) == [episode]
    assert await store.text_search_episodes(f"{many[:9_900]} nowhere", tenant, agent, match="all") == []


async def test_words_are_read_in_the_language_of_the_episode(pool: Pool) -> None:
    store, tenant, agent = PostgresMemoryStore(pool), uuid4(), uuid4()
    english = make_episode(tenant, agent, language="english", content="The refunds were running late")
    german = make_episode(tenant, agent, language="german", content="Die Erstattungen liefen")
    await store.add_episodes([english, german])
    search = store.text_search_episodes
    assert await search("refund run", tenant, agent, language="english") == [english]
    assert await search("erstattung", tenant, agent, language="german") == [german]
    assert await search("late refu", tenant, agent, language="english", prefix=True) == [english]
    # Nothing but stop words.
    for query in ("the", "the were", '"the"', "-the"):
        assert await search(query, tenant, agent, language="english") == []


async def test_a_query_that_contains_a_scope_lexeme_finds_nothing_of_another_tenant(
    pool: Pool, admin: asyncpg.Connection
) -> None:
    store, tenant, agent = PostgresMemoryStore(pool), uuid4(), uuid4()
    await store.add_episode(make_episode(tenant, agent))
    scope = await admin.fetchval("SELECT convostore.text_scope($1, $2, NULL)", tenant, agent)
    stranger = make_episode(uuid4(), agent, content=f"tea {scope}")
    await store.add_episode(stranger)
    assert await store.text_search_episodes(f"tea {scope}", stranger.tenant_id, agent) == [stranger]
    assert await store.text_search_episodes(f"tea or {scope}", tenant, agent) != [stranger]
    # Even if every scope were the same, the tenant is compared.
    await admin.execute(
        "UPDATE convostore.episode SET words = words || array_to_tsvector(ARRAY[$1]) WHERE tenant_id = $2",
        *(scope, stranger.tenant_id),
    )
    assert [episode.tenant_id for episode in await store.text_search_episodes("tea", tenant, agent)] == [tenant]
