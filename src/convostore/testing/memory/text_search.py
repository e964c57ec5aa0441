"""The contract of memory stores: episodes found by their words, and by words and vector together."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import MemoryStore
from convostore.errors import ValidationError
from convostore.testing.base import StoreContract
from convostore.testing.factories import at
from convostore.testing.memory.episodes import add_episodes


class TextSearchContract(StoreContract):
    """Text search over episodes."""

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("refund", {"one", "two"}),
            ("REFUND", {"one", "two"}),
            ("refund order", {"two"}),
            ('"the refund"', {"one"}),
            ('"refund the"', set()),
            ("refund -order", {"one"}),
            ("café", {"three"}),
            ("order or café", {"two", "three"}),
            ("refunds", set()),
            ("", set()),
            ("   ", set()),
            ('""', set()),
            ("- & | ! :* ( ) ' \\ <->", set()),
        ],
    )
    async def test_a_web_search_finds_the_episodes_that_match(
        self, store: MemoryStore, query: str, found: set[str]
    ) -> None:
        tenant, agent = uuid4(), uuid4()
        contents = {
            "one": "Where is the refund?",
            "two": "My order has no Refund yet",
            "three": "A café in Bonn",
        }
        episodes = await add_episodes(store, tenant, agent, *({"content": text} for text in contents.values()))
        names = dict(zip((episode.id for episode in episodes), contents, strict=True))
        matches = await store.text_search_episodes(query, tenant, agent)
        assert {names[episode.id] for episode in matches} == found
        assert all(episode in episodes for episode in matches)

    @pytest.mark.parametrize(
        "query", ["'", '"', "-", "a:*", "<script>", "or", "or or", '-""', "%_", "日本", "\t\n", "a" * 3_000]
    )
    async def test_no_query_is_an_error(self, store: MemoryStore, query: str) -> None:
        tenant, agent = uuid4(), uuid4()
        await add_episodes(store, tenant, agent, {})
        assert isinstance(await store.text_search_episodes(query, tenant, agent), list)

    async def test_equal_ranks_are_ordered_by_id_across_pages(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        episodes = await add_episodes(store, tenant, agent, *({"id": UUID(int=n)} for n in (3, 1, 2)))
        expected = sorted(episodes, key=lambda episode: episode.id)
        assert await store.text_search_episodes("tea", tenant, agent) == expected
        assert await store.text_search_episodes("tea", tenant, agent, limit=2) == expected[:2]
        assert await store.text_search_episodes("tea", tenant, agent, limit=2, offset=2) == expected[2:]

    async def test_only_episodes_of_the_language_are_searched(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        simple, english = await add_episodes(store, tenant, agent, {}, {"language": "english"})
        assert await store.text_search_episodes("tea", tenant, agent) == [simple]
        assert await store.text_search_episodes("tea", tenant, agent, language="english") == [english]
        assert await store.text_search_episodes("tea", tenant, uuid4()) == []
        with pytest.raises(ValidationError, match="language"):
            await store.text_search_episodes("tea", tenant, agent, language="klingon")

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("ref", {"one", "two"}),
            ("order ref", {"two"}),
            ("ref order", set()),
            ('"the ref"', {"one"}),
            ("caf or ord", {"two"}),
            ("order -ref", {"two"}),
            ("ref -order", set()),
            ('refund -"my ord"', {"one", "two"}),
            ("bo ", {"three"}),
            ("", set()),
        ],
    )
    async def test_the_last_word_may_be_the_beginning_of_one(
        self, store: MemoryStore, query: str, found: set[str]
    ) -> None:
        tenant, agent = uuid4(), uuid4()
        contents = {"one": "Where is the refund?", "two": "My order has no Refund yet", "three": "A café in Bonn"}
        episodes = await add_episodes(store, tenant, agent, *({"content": text} for text in contents.values()))
        names = dict(zip((episode.id for episode in episodes), contents, strict=True))
        matches = await store.text_search_episodes(query, tenant, agent, prefix=True)
        assert {names[episode.id] for episode in matches} == found

    async def test_text_search_is_filtered(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        customer, session, group = uuid4(), uuid4(), uuid4()
        always, past = await add_episodes(
            store,
            tenant,
            agent,
            {"id": UUID(int=1), "customer_profile_id": customer, "session_id": session, "occurred_at": at(0)},
            {
                "id": UUID(int=2),
                "group_id": group,
                "content_type": "fact",
                "occurred_at": at(1),
                "valid_from": at(0),
                "valid_to": at(10),
            },
        )
        await add_episodes(store, tenant, uuid4(), {"customer_profile_id": customer, "group_id": group})

        async def found(**only: Any) -> list[Any]:
            return await store.text_search_episodes("tea", tenant, agent, **only)

        assert await found() == [always, past]
        assert await found(customer_profile_id=customer) == [always]
        assert await found(customer_profile_id=uuid4()) == []
        assert await found(session_id=session) == [always]
        assert await found(group_id=group) == [past]
        assert await found(content_type="fact") == [past]
        assert await found(since=at(1)) == [past]
        assert await found(until=at(1)) == [always]
        assert await found(as_of=at(9)) == [always, past]
        assert await found(as_of=at(10)) == [always]
        assert await found(as_of=at(10), content_type="fact") == []

    async def test_the_beginning_of_a_very_long_query_counts(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        (episode,) = await add_episodes(store, tenant, agent, {})
        assert await store.text_search_episodes("tea " * 2_500 + "coffee", tenant, agent) == [episode]
        assert await store.text_search_episodes("or " * 300_000 + "tea", tenant, agent) == []


class HybridSearchContract(StoreContract):
    """Text and vector search together."""

    async def test_ranks_of_both_searches_are_fused(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        both, words, meaning, _ = await add_episodes(
            store,
            tenant,
            agent,
            {"content": "tea", "embedding": [1.0, 0.5]},
            {"content": "tea tea tea"},
            {"content": "coffee", "embedding": [1.0, 0.0]},
            {"content": "water", "embedding": [-1.0, 0.0]},
        )
        found = await store.search_episodes("tea", [1.0, 0.0], tenant, agent)
        assert [episode for episode, _ in found] == [both, *sorted((words, meaning), key=lambda episode: episode.id)]
        assert [score for _, score in found] == [1 / 62 + 1 / 62, 1 / 61, 1 / 61]
        assert await store.search_episodes("tea", [1.0, 0.0], tenant, agent, limit=1) == found[:1]
        assert await store.search_episodes("tea", [1.0, 0.0], tenant, agent, limit=1, offset=1) == found[1:2]
        assert len(await store.search_episodes("tea", [1.0, 0.0], tenant, agent, min_score=-1.0)) == 4
        assert await store.search_episodes("tea", [1.0, 0.0], uuid4(), agent) == []

    async def test_what_only_one_search_finds_is_found(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        word, vector = await add_episodes(
            store, tenant, agent, {}, {"content": "coffee", "embedding": [1.0, 0.0], "embedding_model": "m"}
        )
        search = store.search_episodes
        assert await search("tea", [1.0], tenant, agent) == [(word, 1 / 61)]
        assert await search("", [1.0, 0.0], tenant, agent) == [(vector, 1 / 61)]
        assert await search("milk", [0.0, 1.0], tenant, agent, min_score=0.1) == []
        assert await search("", [1.0, 0.0], tenant, agent, embedding_model="m") == [(vector, 1 / 61)]
        assert await search("te", [1.0, 0.0], tenant, agent, embedding_model="other", prefix=True) == [(word, 1 / 61)]
        assert await search("tea", [1.0], tenant, agent, language="english") == []

    async def test_embeddings_beside_count_and_episodes_come_as_they_are(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        (episode,) = await add_episodes(store, tenant, agent, {"embedding": [1.0], "embedding_model": "old"})
        assert await store.add_embeddings(tenant, "new", {episode.id: [0.0, 1.0]}) == 1
        found = await store.search_episodes("", [0.0, 1.0], tenant, agent, embedding_model="new")
        assert found == [(episode, 1 / 61)]
        assert await store.search_episodes("tea", [1.0], tenant, agent) == [(episode, 1 / 61 + 1 / 61)]
        assert await store.search_episodes("", [0.0, 1.0], tenant, agent) == []

    async def test_both_searches_are_filtered(self, store: MemoryStore) -> None:
        tenant, agent, customer = uuid4(), uuid4(), uuid4()
        mine, other = await add_episodes(
            store,
            tenant,
            agent,
            {"customer_profile_id": customer, "embedding": [1.0], "occurred_at": at(1)},
            {"content_type": "fact", "embedding": [1.0], "occurred_at": at(2), "valid_from": at(5)},
        )
        for only in (
            {"customer_profile_id": customer},
            {"until": at(2)},
            {"content_type": "message"},
            {"as_of": at(4)},
        ):
            found = await store.search_episodes("tea", [1.0], tenant, agent, **only)
            assert found == [(mine, 1 / 61 + 1 / 61)]
        for only in ({"group_id": other.group_id}, {"since": at(2)}):
            found = await store.search_episodes("tea", [1.0], tenant, agent, **only)
            assert found == [(other, 1 / 61 + 1 / 61)]
        assert await store.search_episodes("tea", [1.0], tenant, agent, session_id=uuid4()) == []
