"""The contract of memory stores: episodes found by their words."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import MemoryStore
from convostore.errors import ValidationError
from convostore.testing.base import StoreContract
from convostore.testing.factories import at
from convostore.testing.memory.episodes import add_episodes

LANGUAGES = (
    ("arabic", "مرحبـا، هل وصل كِتَابي؟", ("مرحبا", "كتابي", "كِتَابي")),
    ("hebrew", "שָׁלוֹם\u200f, איפה ההזמנה?", ("שלום", "ההזמנה")),
    ("hindi", "मेरा ऑर्डर कहाँ है?", ("ऑर्डर", "कहाँ")),
    ("thai", "ฉันต้องการคืนเงิน", ("คืนเงิน", "เงิน")),
    ("chinese", "今天玩成语接龙游戏", ("成语接龙", "游戏", "今天玩成语接龙游戏", "龙")),
    ("japanese", "ﾊﾟｽﾎﾟｰﾄをなくした。今日は雨", ("パスポート", "なくした", "今日")),
    ("korean", "환불을 요청했습니다", ("환불", "요청")),
    ("turkish", "İSTANBUL'dan sipariş ALIŞVERİŞ", ("istanbul", "İstanbul", "alışveriş")),
    ("german", "Die STRASSE und ÄPFEL", ("straße", "äpfel", "A\u0308pfel")),
    ("vietnamese", "Đơn hàng của tôi bị mất", ("đơn hàng", "MẤT", "mâ\u0301t")),
)
"""Texts, and queries that look like a part of them."""


class TextSearchContract(StoreContract):
    """Text search over episodes."""

    @pytest.mark.parametrize(
        ("query", "any_word", "every_word"),
        [
            ("refund", {"one", "two"}, {"one", "two"}),
            ("REFUND", {"one", "two"}, {"one", "two"}),
            ("refund order", {"one", "two"}, {"two"}),
            ('"the refund"', {"one"}, {"one"}),
            ('"refund the"', set(), set()),
            ('"the refund" café', {"one", "three"}, set()),
            ("refund -order", {"one"}, {"one"}),
            ('refund café -"my order"', {"one", "three"}, set()),
            ("café", {"three"}, {"three"}),
            ("order or café", {"two", "three"}, {"two", "three"}),
            ("where order or café", {"one", "two", "three"}, {"three"}),
            ("refunds", set(), set()),
            ("-order", set(), {"one", "three"}),
            ("", set(), set()),
            ("   ", set(), set()),
            ('""', set(), set()),
            ("- & | ! :* ( ) ' \\ <->", set(), set()),
        ],
    )
    async def test_a_web_search_finds_the_episodes_that_match(
        self, store: MemoryStore, query: str, any_word: set[str], every_word: set[str]
    ) -> None:
        tenant, agent = uuid4(), uuid4()
        contents = {
            "one": "Where is the refund?",
            "two": "My order has no Refund yet",
            "three": "A café in Bonn",
        }
        episodes = await add_episodes(store, tenant, agent, *({"content": text} for text in contents.values()))
        names = dict(zip((episode.id for episode in episodes), contents, strict=True))
        found = await store.text_search_episodes(query, tenant, agent)
        assert {names[episode.id] for episode in found} == any_word
        assert all(episode in episodes for episode in found)
        found = await store.text_search_episodes(query, tenant, agent, match="all")
        assert {names[episode.id] for episode in found} == every_word

    async def test_rare_words_and_short_texts_rank_first_within_the_scope_that_is_asked(
        self, store: MemoryStore
    ) -> None:
        tenant, agent, customer = uuid4(), uuid4(), uuid4()
        contents = ("tea rare", "tea", "tea tea", "tea with milk and sugar", "rare with milk and sugar")
        mine = await add_episodes(
            store, tenant, agent, *({"content": text, "customer_profile_id": customer} for text in contents)
        )
        # To others the rare word is a frequent one.
        others = [{"content": "rare"}] * 20
        await add_episodes(store, tenant, agent, *others)
        await add_episodes(store, tenant, uuid4(), *others)
        await add_episodes(store, uuid4(), agent, *others)
        both, short, repeated, long, rare = mine
        found = await store.text_search_episodes("rare tea", tenant, agent, customer_profile_id=customer)
        first, second = sorted((short, repeated), key=lambda episode: episode.id)
        assert found == [both, rare, first, second, long]

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

    async def test_a_language_is_asked_for_or_each_is_read_in_its_own(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        simple, english = await add_episodes(
            store, tenant, agent, {"content": "tea"}, {"content": "tea", "language": "english"}
        )
        both = sorted((simple, english), key=lambda episode: episode.id)
        assert await store.text_search_episodes("tea", tenant, agent) == both
        assert await store.text_search_episodes("tea", tenant, agent, language="simple") == [simple]
        assert await store.text_search_episodes("tea", tenant, agent, language="english") == [english]
        assert await store.text_search_episodes("tea", tenant, agent, language="german") == []
        assert await store.text_search_episodes("tea", tenant, uuid4()) == []
        with pytest.raises(ValidationError, match="language"):
            await store.text_search_episodes("tea", tenant, agent, language="klingon")

    @pytest.mark.parametrize(("language", "content", "queries"), LANGUAGES, ids=[each[0] for each in LANGUAGES])
    async def test_text_is_found_as_it_looks(
        self, store: MemoryStore, language: str, content: str, queries: tuple[str, ...]
    ) -> None:
        tenant, agent = uuid4(), uuid4()
        episode, _ = await add_episodes(store, tenant, agent, {"content": content}, {"content": "something else"})
        for match in ("any", "all"):
            for query in queries:
                assert await store.text_search_episodes(query, tenant, agent, match=match) == [episode], query
        assert (await store.get_episode(tenant, episode.id)) == episode

    async def test_the_longest_texts_of_every_script_are_saved(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        letters = "".join(map(chr, range(0x4E00, 0x9E00)))
        (episode,) = await add_episodes(store, tenant, agent, {"content": "成语接龙" + (letters * 20)[:349_000]})
        assert await store.text_search_episodes("语接", tenant, agent) == [episode]

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("ref", {"one", "two"}),
            ("order ref", {"one", "two"}),
            ("ref order", {"two"}),
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
