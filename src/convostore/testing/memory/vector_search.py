"""The contract of vector search over episodes: spaces, filters, ties, and embeddings beside an episode's own."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import MemoryStore
from convostore.domain.scoring import cosine
from convostore.errors import ConflictError, ValidationError
from convostore.models import Episode
from convostore.testing.base import StoreContract
from convostore.testing.factories import at, make_episode

QUERY = [1.0, 0.0]


async def add(store: MemoryStore, tenant: UUID, agent: UUID, **changes: Any) -> Episode:
    """Add an episode with an embedding that is near the query."""
    episode = make_episode(tenant, agent, **{"embedding": [1.0, 0.1], **changes})
    await store.add_episode(episode)
    return episode


async def found(store: MemoryStore, tenant: UUID, agent: UUID, **arguments: Any) -> set[UUID]:
    """Return the ids of the episodes that a search finds."""
    return {episode.id for episode, _ in await store.vector_search_episodes(QUERY, tenant, agent, **arguments)}


class VectorSearchContract(StoreContract):
    """Which episodes a vector search compares, and in which order they come."""

    @pytest.mark.parametrize("column", ["customer_profile_id", "session_id", "group_id", "content_type"])
    async def test_a_filter_matches_its_value(self, store: MemoryStore, column: str) -> None:
        tenant, agent = uuid4(), uuid4()
        wanted = "fact" if column == "content_type" else uuid4()
        match = await add(store, tenant, agent, **{column: wanted})
        await add(store, tenant, agent)
        other = "summary" if column == "content_type" else uuid4()
        assert await found(store, tenant, agent, **{column: wanted}) == {match.id}
        assert await found(store, tenant, agent, **{column: other}) == set()

    async def test_filters_are_combined(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        changes: dict[str, Any] = {
            "customer_profile_id": uuid4(),
            "session_id": uuid4(),
            "group_id": uuid4(),
            "content_type": "document",
            "embedding_model": "m",
        }
        match = await add(store, tenant, agent, **changes, occurred_at=at(5))
        others = dict.fromkeys(changes, uuid4()) | {"content_type": "fact", "embedding_model": "other"}
        for column, other in others.items():
            await add(store, tenant, agent, **changes | {column: other}, occurred_at=at(5))
        await add(store, tenant, agent, **changes, occurred_at=at(6))
        arguments = {**changes, "since": at(5), "until": at(6), "as_of": at(5)}
        assert await found(store, tenant, agent, **arguments) == {match.id}

    async def test_a_window_is_half_open_and_about_when_it_occurred(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        early, middle, late = [(await add(store, tenant, agent, occurred_at=at(day))).id for day in (1, 2, 3)]
        assert await found(store, tenant, agent, since=at(2)) == {middle, late}
        assert await found(store, tenant, agent, until=at(2)) == {early}
        assert await found(store, tenant, agent, since=at(2), until=at(3)) == {middle}
        assert await found(store, tenant, agent, since=at(3), until=at(2)) == set()

    async def test_as_of_matches_what_was_valid_then(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        always = (await add(store, tenant, agent)).id
        later = (await add(store, tenant, agent, valid_from=at(2))).id
        ended = (await add(store, tenant, agent, valid_to=at(2))).id
        span = (await add(store, tenant, agent, valid_from=at(1), valid_to=at(3))).id
        assert await found(store, tenant, agent) == {always, later, ended, span}
        assert await found(store, tenant, agent, as_of=at(2)) == {always, later, span}
        assert await found(store, tenant, agent, as_of=at(2) - timedelta(microseconds=1)) == {always, ended, span}
        assert await found(store, tenant, agent, as_of=at(3)) == {always, later}

    @pytest.mark.parametrize("name", ["since", "until", "as_of"])
    async def test_a_moment_without_a_zone_is_refused(self, store: MemoryStore, name: str) -> None:
        with pytest.raises(ValidationError, match=name):
            await store.vector_search_episodes(QUERY, uuid4(), uuid4(), **{name: at(1).replace(tzinfo=None)})  # type: ignore[arg-type]

    async def test_many_ties_come_by_id_in_pages(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        # More than any number of candidates a backend would look at first, and nearly but not quite as near.
        twins = [await add(store, tenant, agent, id=UUID(int=n), embedding=[2.0, 0.0]) for n in range(150, 0, -1)]
        near = [await add(store, tenant, agent, embedding=[1.0, 0.01 + n / 10_000]) for n in range(5)]
        expected = [(episode.id, 1.0) for episode in reversed(twins)]
        expected += [(episode.id, cosine(QUERY, episode.embedding or [])) for episode in near]
        pages = [
            await store.vector_search_episodes(QUERY, tenant, agent, limit=10, offset=offset)
            for offset in range(0, 160, 10)
        ]
        assert [(episode.id, score) for page in pages for episode, score in page] == expected

    async def test_scores_that_differ_by_little_are_ordered_exactly(self, store: MemoryStore) -> None:
        tenant, agent, dice = uuid4(), uuid4(), Random(5)
        query = [dice.gauss(0, 1) for _ in range(48)]
        # Within half a thousandth of each other, where sixteen bits cannot tell them apart.
        near = [[x + dice.gauss(0, 0.02) for x in query] for _ in range(120)]
        episodes = [await add(store, tenant, agent, embedding=vector) for vector in near]
        scores = {episode.id: cosine(query, episode.embedding or []) for episode in episodes}
        result = await store.vector_search_episodes(query, tenant, agent, limit=7)
        assert [score for _, score in result] == pytest.approx(sorted(scores.values(), reverse=True)[:7], abs=2e-6)
        assert all(score == pytest.approx(scores[episode.id], abs=2e-6) for episode, score in result)
        assert result == sorted(result, key=lambda pair: (-pair[1], pair[0].id))

    @pytest.mark.parametrize("dimensions", [1, 2, 1_280, 1_281, 2_001, 4_000])
    async def test_any_number_of_dimensions_can_be_stored_and_searched(
        self, store: MemoryStore, dimensions: int
    ) -> None:
        tenant, agent, dice = uuid4(), uuid4(), Random(dimensions)
        vectors = [[dice.uniform(0.1, 1) for _ in range(dimensions)] for _ in range(3)]
        episodes = [
            await add(
                store,
                tenant,
                agent,
                embedding=vector,
                embedding_model="\U0001f600" * 200,
                content_type="document",
                customer_profile_id=uuid4(),
                valid_from=at(1),
                valid_to=at(9),
            )
            for vector in vectors
        ]
        result = await store.vector_search_episodes(vectors[1], tenant, agent, embedding_model="\U0001f600" * 200)
        assert {episode.id for episode, _ in result} == {episode.id for episode in episodes}
        for episode, score in result:
            assert score == pytest.approx(cosine(vectors[1], episode.embedding or []), abs=2e-6)

    async def test_very_short_and_very_long_vectors_have_directions(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        short = await add(store, tenant, agent, embedding=[1e-38, 0.0])
        long = await add(store, tenant, agent, embedding=[3e38, 3e38])
        expected = [(short, 1.0), (long, 0.707107)]
        for query in ([1e-38, 0.0], [3e38, 0.0]):
            assert await store.vector_search_episodes(query, tenant, agent) == expected


class EmbeddingMigrationContract(StoreContract):
    """Embeddings of a new model, beside the old ones and then instead of them."""

    async def test_embeddings_beside_are_found_by_their_model_while_the_old_ones_still_are(
        self, store: MemoryStore
    ) -> None:
        tenant, agent, customer = uuid4(), uuid4(), uuid4()
        old = await add(store, tenant, agent, embedding_model="old", customer_profile_id=customer, occurred_at=at(1))
        own = await add(store, tenant, agent, embedding_model="new", embedding=[0.0, 1.0], occurred_at=at(2))
        assert await store.add_embeddings(tenant, "new", {old.id: [0.6, 0.8]}) == 1
        beside = old.model_copy(update={"embedding_model": "new", "embedding": pytest.approx([0.6, 0.8])})
        assert await store.vector_search_episodes([0.0, 1.0], tenant, agent, embedding_model="new") == [
            (own, 1.0),
            (beside, 0.8),
        ]
        for arguments in ({"customer_profile_id": customer}, {"until": at(2)}):
            result = await store.vector_search_episodes(QUERY, tenant, agent, embedding_model="new", **arguments)
            assert result == [(beside, 0.6)]
        assert await store.vector_search_episodes([1.0, 0.1], tenant, agent, embedding_model="old") == [(old, 1.0)]
        assert await store.vector_search_episodes([1.0, 0.1], tenant, agent, min_score=0.5) == [(old, 1.0)]
        assert await store.get_episode(tenant, old.id) == old

    async def test_what_is_to_be_embedded_comes_by_id_in_pages(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        for number in (3, 1, 2):
            await add(store, tenant, agent, id=UUID(int=number), embedding_model="old")
        await add(store, tenant, agent, embedding_model="new")
        await add(store, tenant, agent, embedding=None)
        nameless = await add(store, tenant, agent, id=UUID(int=4))

        async def waiting(**arguments: Any) -> list[int]:
            return [episode.id.int for episode in await store.get_episodes_to_embed(tenant, "new", **arguments)]

        assert await waiting() == [1, 2, 3, 4]
        assert await waiting(limit=2) == [1, 2]
        assert await waiting(limit=2, after=UUID(int=2)) == [3, 4]
        await store.add_embeddings(tenant, "new", {UUID(int=1): [1.0], nameless.id: [1.0]})
        assert await waiting() == [2, 3]
        assert await store.get_episodes_to_embed(uuid4(), "new") == []

    async def test_the_switch_makes_them_the_episodes_own_at_once_and_only_when_complete(
        self, store: MemoryStore
    ) -> None:
        tenant, agent = uuid4(), uuid4()
        one, two = [await add(store, tenant, agent, embedding_model="old") for _ in range(2)]
        without = await add(store, tenant, agent, embedding=None)
        await store.add_embeddings(tenant, "new", {one.id: [1.0, 0.0, 0.0]})
        with pytest.raises(ConflictError):
            await store.switch_embeddings(tenant, "new")
        assert await found(store, tenant, agent) == {one.id, two.id}
        await store.add_embeddings(tenant, "new", {two.id: [0.0, 1.0, 0.0]})
        assert await store.switch_embeddings(tenant, "new") == 2
        assert await store.switch_embeddings(tenant, "new") == 0
        changes = {"embedding_model": "new", "embedding": [1.0, 0.0, 0.0]}
        switched = one.model_copy(update=changes)
        assert await store.get_episode(tenant, one.id) == switched
        assert await found(store, tenant, agent) == set()
        for arguments in ({}, {"embedding_model": "new"}):
            result = await store.vector_search_episodes([1.0, 0.0, 0.0], tenant, agent, limit=1, **arguments)  # type: ignore[arg-type]
            assert result == [(switched, 1.0)]
        assert await store.get_episode(tenant, without.id) == without

    async def test_only_episodes_of_the_tenant_that_lack_the_model_get_an_embedding(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        old = await add(store, tenant, agent, embedding_model="old")
        new = await add(store, tenant, agent, embedding_model="new")
        vectors = {old.id: [1.0], new.id: [1.0], uuid4(): [1.0]}
        assert await store.add_embeddings(uuid4(), "new", vectors) == 0
        assert await store.add_embeddings(tenant, "new", vectors) == 1
        assert await store.add_embeddings(tenant, "new", {old.id: [-1.0]}) == 1
        result = await store.vector_search_episodes([1.0], tenant, agent, embedding_model="new", min_score=-1.0)
        assert [(episode.id, score) for episode, score in result] == [(old.id, -1.0)]
        with pytest.raises(ValidationError, match="embeddings"):
            await store.add_embeddings(tenant, "new", {old.id: [0.0]})

    async def test_the_embedding_beside_goes_with_its_episode(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        episode = await add(store, tenant, agent, embedding_model="old")
        await store.add_embeddings(tenant, "new", {episode.id: [1.0, 0.0]})
        await store.delete_episode(tenant, episode.id)
        await store.add_episode(episode)
        assert await found(store, tenant, agent, embedding_model="new") == set()
        assert await store.get_episodes_to_embed(tenant, "new") == [episode]
