"""The contract of memory stores: what looks like a part of a text or name finds it."""

from __future__ import annotations

from uuid import uuid4

from convostore.contracts import MemoryStore
from convostore.testing.base import StoreContract
from convostore.testing.factories import make_entity, make_episode
from convostore.testing.memory.search_pairs import CONTENTS, PAIRS, QUERIES


class LookAlikeContract(StoreContract):
    """Texts and queries in many scripts and spellings, and queries with operators."""

    async def test_texts_are_found_by_what_looks_like_a_part_of_them(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        episodes = {
            name: make_episode(tenant, agent, content=pair.text, language=pair.language) for name, pair in PAIRS.items()
        }
        await store.add_episodes([*episodes.values()])
        for name, pair in PAIRS.items():
            assert episodes[name] in await store.text_search_episodes(pair.query, tenant, agent), name
            assert episodes[name] in await store.text_search_episodes(pair.query, tenant, agent, match="all"), name

    async def test_operators_are_those_of_a_web_search(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        episodes = {
            name: make_episode(tenant, agent, content=content, language="simple") for name, content in CONTENTS.items()
        }
        await store.add_episodes([*episodes.values()])
        names = {episode.id: name for name, episode in episodes.items()}
        for query, expected in QUERIES.items():
            found = [
                {names[episode.id] for episode in await store.text_search_episodes(query, tenant, agent, match=match)}
                for match in ("any", "all")
            ]
            assert found == [{*each.split()} for each in expected], query

    async def test_names_are_found_by_what_looks_like_a_part_of_them(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        names = [*(pair.text for pair in PAIRS.values()), *QUERIES]
        entities = [make_entity(tenant, agent, name=name) for name in names]
        await store.add_entities(entities)
        for entity, query in zip(entities, [*(pair.query for pair in PAIRS.values()), *QUERIES], strict=True):
            assert entity in [found for found, _ in await store.find_entities(tenant, agent, name=query)], query
            assert (entity, 1.0) in await store.find_entities(tenant, agent, name=entity.name)
