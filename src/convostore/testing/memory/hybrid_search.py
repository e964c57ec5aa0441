"""The contract of memory stores: episodes found by words and vector together."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from convostore.contracts import MemoryStore
from convostore.errors import ValidationError
from convostore.testing.base import StoreContract
from convostore.testing.factories import at
from convostore.testing.memory.episodes import add_episodes


class HybridSearchContract(StoreContract):
    """Text and vector search together."""

    async def test_scores_of_both_searches_are_fused(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        both, words, meaning, _ = await add_episodes(
            store,
            tenant,
            agent,
            {"content": "tea", "embedding": [1.0, 1.0]},
            {"content": "tea and milk"},
            {"content": "coffee", "embedding": [1.0, 0.0]},
            {"content": "water", "embedding": [-1.0, 0.0]},
        )
        search = store.search_episodes
        found = await search("tea", [1.0, 0.0], tenant, agent)
        # Words: 1 for the shorter text, less for the longer, 0 for none. Meaning: 1 and 0, none without a vector.
        equal = sorted((both, meaning), key=lambda episode: episode.id)
        assert [(episode, score) for episode, score in found[:2]] == [(equal[0], 0.5), (equal[1], 0.5)]
        assert found[2][0] == words
        assert 0 < found[2][1] < 0.5
        assert await search("tea", [1.0, 0.0], tenant, agent, limit=1) == found[:1]
        assert await search("tea", [1.0, 0.0], tenant, agent, limit=1, offset=1) == found[1:2]
        assert len(await search("tea", [1.0, 0.0], tenant, agent, min_score=-1.0)) == 4
        assert await search("tea", [1.0, 0.0], uuid4(), agent) == []

    async def test_what_only_one_search_finds_is_found(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        word, vector = await add_episodes(
            store,
            tenant,
            agent,
            {"content": "tea"},
            {"content": "coffee", "embedding": [1.0, 0.0], "embedding_model": "m"},
        )
        search = store.search_episodes
        assert await search("tea", [1.0], tenant, agent) == [(word, 0.5)]
        assert await search("", [1.0, 0.0], tenant, agent) == [(vector, 0.5)]
        assert await search("milk", [0.0, 1.0], tenant, agent, min_score=0.1) == []
        assert await search("", [1.0, 0.0], tenant, agent, embedding_model="m") == [(vector, 0.5)]
        assert await search("te", [1.0, 0.0], tenant, agent, embedding_model="other", prefix=True) == [(word, 0.5)]
        assert await search("tea", [1.0], tenant, agent, language="english") == []

    async def test_weights_are_a_ratio(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        word, vector = await add_episodes(
            store,
            tenant,
            agent,
            {"content": "tea", "embedding": [0.0, 1.0]},
            {"content": "coffee", "embedding": [1.0, 0.0]},
        )
        search = partial(store.search_episodes, "tea", [1.0, 0.0], tenant, agent, min_score=-1.0)
        assert await search(weights=(3, 1)) == [(word, 0.75), (vector, 0.25)]
        assert await search(weights=(0.2, 0.6)) == [(vector, 0.75), (word, 0.25)]
        assert await search(weights=(0, 1)) == [(vector, 1.0), (word, 0.0)]
        wrongs: tuple[Any, ...] = ((0, 0), (-1, 1), (float("nan"), 1), (1,), None, (1, float("inf")))
        for wrong in wrongs:
            with pytest.raises(ValidationError, match="weights"):
                await search(weights=wrong)

    async def test_scores_halve_with_age(self, store: MemoryStore) -> None:
        tenant, agent, hour = uuid4(), uuid4(), timedelta(hours=1)
        old, new = await add_episodes(
            store,
            tenant,
            agent,
            {"embedding": [1.0], "occurred_at": at(0)},
            {"embedding": [1.0], "occurred_at": at(2 * 3_600)},
        )
        search = partial(store.search_episodes, "tea", [1.0], tenant, agent)
        assert await search(half_life=hour, as_of=at(2 * 3_600)) == [(new, 1.0), (old, 0.25)]
        assert await search(half_life=hour, as_of=at(3_600)) == [(new, 1.0), (old, 0.5)]
        assert await search(half_life=2 * hour, as_of=at(4 * 3_600)) == [(new, 0.5), (old, 0.25)]
        assert [score for _, score in await search(half_life=timedelta(microseconds=1), as_of=at(9_999))] == [0, 0]
        assert [score for _, score in await search(half_life=timedelta(days=36_500))] == pytest.approx([1, 1], abs=0.1)
        wrongs: tuple[Any, ...] = (timedelta(), -hour, 3_600, "1 hour", timedelta(days=36_501))
        for wrong in wrongs:
            with pytest.raises(ValidationError, match="half_life"):
                await search(half_life=wrong)

    async def test_embeddings_beside_count_and_episodes_come_as_they_are(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        (episode,) = await add_episodes(store, tenant, agent, {"embedding": [1.0], "embedding_model": "old"})
        assert await store.add_embeddings(tenant, "new", {episode.id: [0.0, 1.0]}) == 1
        search = store.search_episodes
        assert await search("", [0.0, 1.0], tenant, agent, embedding_model="new") == [(episode, 0.5)]
        assert await search("tea", [1.0], tenant, agent) == [(episode, 1.0)]
        # Found by its words alone, an episode is as near as it is.
        assert await search("tea", [0.0, 1.0], tenant, agent, embedding_model="new", min_score=1.0) == [(episode, 1.0)]
        far = search("tea", [0.0, -1.0], tenant, agent, embedding_model="new", min_score=1.0)
        assert await far == [(episode, 0.5)]
        assert await search("", [0.0, 1.0], tenant, agent) == []

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
            assert await store.search_episodes("tea", [1.0], tenant, agent, **only) == [(mine, 1.0)]
        for only in ({"group_id": other.group_id}, {"since": at(2)}):
            assert await store.search_episodes("tea", [1.0], tenant, agent, **only) == [(other, 1.0)]
        assert await store.search_episodes("tea", [1.0], tenant, agent, session_id=uuid4()) == []
