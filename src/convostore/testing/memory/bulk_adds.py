"""The contract of memory stores: many rows added at once."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from convostore.contracts import MemoryStore
from convostore.errors import ConflictError, NotFoundError, ValidationError
from convostore.testing.base import StoreContract
from convostore.testing.factories import (
    full_entity,
    full_episode,
    full_relationship,
    make_entity,
    make_episode,
    make_relationship,
)


class BulkAddContract(StoreContract):
    """Adding many at once."""

    async def test_many_episodes_are_read_back_equal(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        episodes = [make(tenant, agent) for make in (make_episode, full_episode) for _ in range(3)]
        assert await store.add_episodes(episodes) == [episode.id for episode in episodes]
        assert [await store.get_episode(tenant, episode.id) for episode in episodes] == episodes
        assert await store.text_search_episodes("tea", tenant, agent) == sorted(episodes[:3], key=lambda it: it.id)
        assert await store.add_episodes([]) == []

    async def test_a_graph_is_added_with_its_revisions(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        a, b = entities = [full_entity(tenant, agent), make_entity(tenant, agent)]
        assert await store.add_entities(entities) == [a.id, b.id]
        edges = [make_relationship(a, b), full_relationship(b, a), make_relationship(a, a)]
        assert await store.add_relationships(edges) == [edge.id for edge in edges]
        assert [item.revision for item in entities] + [item.revision for item in edges] == [1] * 5
        assert [await store.get_entity(tenant, entity.id) for entity in entities] == entities
        assert [await store.get_relationship(tenant, edge.id) for edge in edges] == edges

    async def test_adding_again_adds_only_what_is_new(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        old, new = make_entity(tenant, agent), make_entity(tenant, agent)
        await store.add_entity(old)
        old.name = "renamed"
        await store.save_entity(old)
        again = old.model_copy(update={"revision": 0})
        assert await store.add_entities([again, new, again]) == [old.id, new.id, old.id]
        assert (again.revision, new.revision) == (2, 1)
        assert await store.get_entity(tenant, new.id) == new
        many = [make_entity(tenant, agent) for _ in range(1_100)]
        for added in (many[:600], many, many):
            await store.add_entities([entity.model_copy(update={"revision": 0}) for entity in added])
        assert len(await store.get_entities(tenant, agent)) == 1_102
        episode = make_episode(tenant, agent)
        await asyncio.gather(*(store.add_episodes([episode, make_episode(tenant, agent)]) for _ in range(5)))
        assert len(await store.get_episodes(tenant, agent)) == 6

    async def test_other_content_under_an_id_is_refused_with_everything(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        first, second = make_episode(tenant, agent), make_episode(tenant, agent)
        await store.add_episode(first)
        changed = first.model_copy(update={"content": "changed"})
        for batch in ([second, changed], [second, second.model_copy(update={"importance": 0.25})]):
            with pytest.raises(ConflictError, match=str(batch[1].id)) as caught:
                await store.add_episodes(batch)
            assert caught.value.code == "episode_pkey"
            assert await store.get_episodes(tenant, agent) == [first]
        a = make_entity(tenant, agent)
        await store.add_entity(a)
        edges = [make_relationship(a, a), make_relationship(a, a)]
        await store.add_relationship(edges[1])
        edges[1] = edges[1].model_copy(update={"confidence": 0.5, "revision": 0})
        with pytest.raises(ConflictError, match=str(edges[1].id)) as caught:
            await store.add_relationships(edges)
        assert caught.value.code == "relationship_pkey"
        assert edges[0].revision == 0
        assert await store.get_relationship(tenant, edges[0].id) is None

    async def test_relationships_need_both_entities_in_the_tenant(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        a, stranger = make_entity(tenant, agent), make_entity(uuid4(), agent)
        await store.add_entity(a)
        await store.add_entity(stranger)
        for ends in ({"to_entity_id": uuid4()}, {"from_entity_id": stranger.id}):
            with pytest.raises(NotFoundError):
                await store.add_relationships([make_relationship(a, a), make_relationship(a, a, **ends)])
            assert await store.get_relationships(tenant, agent) == []

    async def test_a_missing_entity_is_reported_before_an_id_that_exists(self, store: MemoryStore) -> None:
        a = make_entity(uuid4(), uuid4())
        await store.add_entity(a)
        old = make_relationship(a, a)
        await store.add_relationship(old)
        taken = old.model_copy(update={"confidence": 0.5, "revision": 0})
        for other, error in ((make_relationship(a, a, to_entity_id=uuid4()), NotFoundError), (old, ConflictError)):
            with pytest.raises(error):
                await store.add_relationships([taken, other])
        assert await store.get_relationships(a.tenant_id, a.agent_id) == [old]

    async def test_one_bad_item_stores_nothing(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        good, bad = make_episode(tenant, agent), make_episode(tenant, agent, embedding=[1.0])
        assert bad.embedding is not None
        bad.embedding.append(float("inf"))
        with pytest.raises(ValidationError, match=r"episodes\.1\.embedding"):
            await store.add_episodes([good, bad])
        with pytest.raises(ValidationError, match="one tenant"):
            await store.add_episodes([good, make_episode(uuid4(), agent)])
        assert await store.get_episodes(tenant, agent) == []
