"""The contract of memory stores: episodes, what is found by vector, and what is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import MemoryStore
from convostore.errors import ConflictError, ValidationError
from convostore.models import Episode
from convostore.testing.base import StoreContract
from convostore.testing.factories import at, full_episode, make_entity, make_episode, make_relationship


async def add_episodes(store: MemoryStore, tenant: UUID, agent: UUID, *changes: dict[str, Any]) -> list[Episode]:
    """Add one episode for each set of changes."""
    episodes = [make_episode(tenant, agent, **change) for change in changes]
    for episode in episodes:
        await store.add_episode(episode)
    return episodes


class EpisodeContract(StoreContract):
    """Episodes as rows."""

    async def test_an_episode_is_read_back_equal(self, store: MemoryStore) -> None:
        for episode in (make_episode(uuid4(), uuid4()), full_episode(uuid4(), uuid4())):
            assert await store.add_episode(episode) == episode.id
            assert await store.get_episode(episode.tenant_id, episode.id) == episode

    async def test_adding_an_episode_again_is_a_no_op_and_other_content_a_conflict(self, store: MemoryStore) -> None:
        (episode,) = await add_episodes(store, uuid4(), uuid4(), {"content": "first"})
        assert await store.add_episode(episode) == episode.id
        with pytest.raises(ConflictError) as caught:
            await store.add_episode(episode.model_copy(update={"content": "second"}))
        assert caught.value.code == "episode_pkey"
        assert await store.get_episodes(episode.tenant_id, episode.agent_id) == [episode]

    async def test_many_concurrent_adds_of_one_episode_store_it_once(self, store: MemoryStore) -> None:
        episode = make_episode(uuid4(), uuid4())
        await asyncio.gather(*(store.add_episode(episode) for _ in range(10)))
        assert await store.get_episodes(episode.tenant_id, episode.agent_id) == [episode]

    async def test_tenants_do_not_see_each_others_episodes(self, store: MemoryStore) -> None:
        (mine,) = await add_episodes(store, uuid4(), uuid4(), {"embedding": [1.0]})
        tenant = uuid4()
        assert await store.get_episode(tenant, mine.id) is None
        assert await store.get_episodes(tenant, mine.agent_id) == []
        assert await store.vector_search_episodes([1.0], tenant, mine.agent_id) == []
        assert await store.text_search_episodes("tea", tenant, mine.agent_id) == []
        assert await store.delete_episode(tenant, mine.id) is False
        assert await store.delete_by_group(tenant, mine.group_id) == 0
        theirs = mine.model_copy(update={"tenant_id": tenant, "content": "theirs"})
        await store.add_episode(theirs)
        assert await store.get_episode(mine.tenant_id, mine.id) == mine
        assert await store.get_episode(tenant, mine.id) == theirs

    async def test_episodes_come_last_recorded_first_then_by_id(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        old, b, a, new = await add_episodes(
            store,
            tenant,
            agent,
            {"recorded_at": at(1)},
            {"recorded_at": at(2), "id": UUID(int=2)},
            {"recorded_at": at(2), "id": UUID(int=1)},
            {"recorded_at": at(3)},
        )
        assert await store.get_episodes(tenant, agent) == [new, a, b, old]
        assert await store.get_episodes(tenant, agent, limit=2, offset=1) == [a, b]
        assert await store.get_episodes(tenant, agent, offset=4) == []

    async def test_episodes_are_filtered(self, store: MemoryStore) -> None:
        tenant, agent, customer, session, group = (uuid4() for _ in range(5))
        one, two, three, _ = await add_episodes(
            store,
            tenant,
            agent,
            {"customer_profile_id": customer},
            {"session_id": session},
            {"group_id": group},
            {},
        )
        assert await store.get_episodes(tenant, agent, customer_profile_id=customer) == [one]
        assert await store.get_episodes(tenant, agent, session_id=session) == [two]
        assert await store.get_episodes(tenant, agent, group_id=group) == [three]
        assert await store.get_episodes(tenant, agent, group_id=group, session_id=session) == []

    async def test_episodes_are_filtered_by_type_time_and_validity(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        always, past, future = await add_episodes(
            store,
            tenant,
            agent,
            {"recorded_at": at(3), "occurred_at": at(0)},
            {"recorded_at": at(2), "occurred_at": at(1), "valid_from": at(0), "valid_to": at(10)},
            {"recorded_at": at(1), "occurred_at": at(2), "valid_from": at(10), "content_type": "fact"},
        )
        assert await store.get_episodes(tenant, agent, content_type="fact") == [future]
        assert await store.get_episodes(tenant, agent, since=at(1)) == [past, future]
        assert await store.get_episodes(tenant, agent, until=at(1)) == [always]
        assert await store.get_episodes(tenant, agent, since=at(1), until=at(2)) == [past]
        assert await store.get_episodes(tenant, agent, as_of=at(-1)) == [always]
        assert await store.get_episodes(tenant, agent, as_of=at(0)) == [always, past]
        assert await store.get_episodes(tenant, agent, as_of=at(10)) == [always, future]

    async def test_a_cursor_need_not_be_stored_any_more(self, store: MemoryStore) -> None:
        tenant, agent, session = uuid4(), uuid4(), uuid4()
        changes = [{"recorded_at": at(second // 2), "id": UUID(int=9 - second)} for second in range(6)]
        await add_episodes(store, tenant, agent, *({**change, "session_id": session} for change in changes))
        await add_episodes(store, tenant, agent, {"recorded_at": at(9)}, {"recorded_at": at(-9)})
        everything = await store.get_episodes(tenant, agent, session_id=session)
        for place, episode in enumerate(everything):
            after = await store.get_episodes(tenant, agent, session_id=session, after=episode, limit=1_000)
            assert after == everything[place + 1 :]
        assert await store.get_episodes(tenant, agent, session_id=session, after=everything[1], limit=2, offset=1) == [
            everything[3],
            everything[4],
        ]
        assert await store.delete_episode(tenant, everything[2].id)
        assert await store.get_episodes(tenant, agent, session_id=session, after=everything[2]) == everything[3:]

    async def test_every_episode_can_be_streamed(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        episodes = [make_episode(tenant, agent, recorded_at=at(number // 300)) for number in range(450)]
        episodes += [make_episode(tenant, agent, content_type="fact", recorded_at=at(9))]
        await store.add_episodes(episodes)
        expected = sorted(episodes[:450], key=lambda episode: episode.id)
        expected.sort(key=lambda episode: episode.recorded_at, reverse=True)
        found = []
        async for episode in store.iter_episodes(tenant, agent, content_type="message"):
            found.append(episode.model_copy())
            episode.recorded_at = at(-100)
        assert found == expected
        assert [episode async for episode in store.iter_episodes(uuid4(), agent)] == []

    async def test_a_deleted_episode_is_gone_for_good(self, store: MemoryStore) -> None:
        (episode,) = await add_episodes(store, uuid4(), uuid4(), {"embedding": [1.0]})
        assert await store.delete_episode(episode.tenant_id, episode.id) is True
        assert await store.delete_episode(episode.tenant_id, episode.id) is False
        assert await store.get_episode(episode.tenant_id, episode.id) is None
        assert await store.vector_search_episodes([1.0], episode.tenant_id, episode.agent_id) == []
        assert await store.text_search_episodes("tea", episode.tenant_id, episode.agent_id) == []

    async def test_what_became_invalid_is_refused_before_anything_is_stored(self, store: MemoryStore) -> None:
        episode = make_episode(uuid4(), uuid4(), embedding=[1.0])
        assert episode.embedding is not None
        episode.embedding.append(float("nan"))
        with pytest.raises(ValidationError, match="embedding"):
            await store.add_episode(episode)
        assert await store.get_episode(episode.tenant_id, episode.id) is None


class EpisodeSearchContract(StoreContract):
    """Vector search over episodes."""

    async def test_the_nearest_episodes_come_first_with_their_cosine(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        far, near, exact, against = await add_episodes(
            store, tenant, agent, *({"embedding": e} for e in ([0.0, 2.0], [3.0, 4.0], [0.1, 0.0], [-1.0, 0.0]))
        )
        assert await store.vector_search_episodes([2.0, 0.0], tenant, agent) == [(exact, 1.0), (near, 0.6), (far, 0.0)]
        found = await store.vector_search_episodes([2.0, 0.0], tenant, agent, min_score=-1.0, offset=2)
        assert found == [(far, 0.0), (against, -1.0)]
        assert await store.vector_search_episodes([2.0, 0.0], tenant, agent, min_score=0.6, limit=1) == [(exact, 1.0)]

    async def test_equal_scores_come_by_id(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        b, a = await add_episodes(store, tenant, agent, *({"id": UUID(int=n), "embedding": [n, n]} for n in (2, 1)))
        assert await store.vector_search_episodes([1.0, 1.0], tenant, agent) == [(a, 1.0), (b, 1.0)]

    async def test_only_comparable_episodes_are_found(self, store: MemoryStore) -> None:
        tenant, agent, customer = uuid4(), uuid4(), uuid4()
        mine, other, _, _ = await add_episodes(
            store,
            tenant,
            agent,
            {"embedding": [1.0, 0.0], "customer_profile_id": customer, "embedding_model": "m"},
            {"embedding": [1.0, 0.1], "customer_profile_id": uuid4()},
            {"embedding": [1.0]},
            {},
        )
        query = [1.0, 0.0]
        assert [e for e, _ in await store.vector_search_episodes(query, tenant, agent)] == [mine, other]
        found = await store.vector_search_episodes(query, tenant, agent, customer_profile_id=customer)
        assert found == [(mine, 1.0)]
        assert await store.vector_search_episodes(query, tenant, agent, embedding_model="m") == [(mine, 1.0)]
        assert await store.vector_search_episodes(query, tenant, uuid4()) == []


class BulkDeleteContract(StoreContract):
    """What is forgotten together."""

    async def test_a_group_is_deleted_with_the_edges_that_touch_it(self, store: MemoryStore) -> None:
        tenant, agent, group = uuid4(), uuid4(), uuid4()
        episode, other = await add_episodes(store, tenant, agent, {"group_id": group}, {})
        gone = make_entity(tenant, agent, group_id=group)
        kept, friend = make_entity(tenant, agent), make_entity(tenant, agent)
        for entity in (gone, kept, friend):
            await store.add_entity(entity)
        inside = make_relationship(kept, friend, group_id=group)
        touching = make_relationship(gone, kept)
        outside = make_relationship(friend, kept)
        for edge in (inside, touching, outside):
            await store.add_relationship(edge)
        assert await store.delete_by_group(tenant, group) == 4
        assert await store.get_episodes(tenant, agent) == [other]
        assert await store.get_entity(tenant, gone.id) is None
        assert await store.get_relationships(tenant, agent) == [outside]
        assert await store.delete_by_group(tenant, group) == 0
        assert await store.get_episode(tenant, episode.id) is None

    async def test_a_customer_is_forgotten_with_the_edges_that_touch_it(self, store: MemoryStore) -> None:
        tenant, agent, other_agent, customer = uuid4(), uuid4(), uuid4(), uuid4()
        mine = {"customer_profile_id": customer}
        (other, _) = await add_episodes(store, tenant, agent, {"customer_profile_id": uuid4()}, mine)
        await add_episodes(store, tenant, other_agent, mine)
        gone = make_entity(tenant, agent, **mine)
        kept, friend = make_entity(tenant, agent), make_entity(tenant, agent, customer_profile_id=uuid4())
        await store.add_entities([gone, kept, friend])
        outside = make_relationship(friend, kept)
        await store.add_relationships([make_relationship(gone, kept), make_relationship(kept, gone), outside])
        assert await store.delete_by_customer(uuid4(), customer) == 0
        assert await store.delete_by_customer(tenant, customer) == 5
        assert await store.get_episodes(tenant, agent) == [other]
        assert await store.get_episodes(tenant, other_agent) == []
        assert await store.get_entity(tenant, gone.id) is None
        assert await store.get_relationships(tenant, agent) == [outside]
        assert await store.delete_by_customer(tenant, customer) == 0
