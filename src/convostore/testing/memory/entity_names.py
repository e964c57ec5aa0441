"""The contract of memory stores: entities found by a name as it is typed."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import MemoryStore
from convostore.models import Entity
from convostore.testing.base import StoreContract
from convostore.testing.factories import at, make_entity


async def add_named(store: MemoryStore, tenant: UUID, agent: UUID, *names: str) -> list[Entity]:
    """Add an entity for each name, the first recorded last."""
    entities = [make_entity(tenant, agent, name=name, recorded_at=at(-number)) for number, name in enumerate(names)]
    await store.add_entities(entities)
    return entities


class EntityNameContract(StoreContract):
    """Entities by the same name, by any word, and by the beginning of one."""

    async def test_the_same_name_comes_first_then_common_words_then_beginnings(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        *_, begun, both, one, more, same, exact = await add_named(
            store,
            tenant,
            agent,
            "Bob",
            "Smithsonian",
            "Anna Smithers",
            "Ann",
            "Ann Smith-Jones",
            "SMITH, Ann",
            "Ann  Smith",
        )
        found = await store.find_entities(tenant, agent, name="ann smith")
        assert found == [(exact, 1.0), (same, 0.9), (more, 0.766666), (one, 0.7), (both, 0.2), (begun, 0.1)]
        assert await store.find_entities(tenant, agent, name="ann smith", min_score=0.7) == found[:4]
        assert await store.find_entities(tenant, agent, name="ann smith", limit=2, offset=3) == found[3:5]
        assert await store.find_entities(tenant, agent, name="ann smith", min_score=-1.0) == found

    async def test_equal_scores_are_ordered_as_lists_are(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        entities = [
            make_entity(tenant, agent, name=name, id=UUID(int=number), recorded_at=at(moment))
            for number, name, moment in ((3, "Ann A", 0), (1, "ann", 0), (4, "Ann B", 1), (2, "ANN", 0), (5, "Ann", 1))
        ]
        await store.add_entities(entities)
        a, ann, b, upper, last = entities
        assert [found for found, _ in await store.find_entities(tenant, agent, name="Ann")] == [last, ann, upper, b, a]

    async def test_names_are_as_they_are_typed(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        percent, under, quoted, rock, minus, invisible = await add_named(
            store, tenant, agent, "%", "a_b", 'Dwayne "The Rock"', "Rock or Roll", "-5 °C", "\u200b"
        )
        find = store.find_entities
        assert await find(tenant, agent, name="%") == [(percent, 1.0)]
        assert await find(tenant, agent, name="_") == []
        assert await find(tenant, agent, name="A_B") == [(under, 1.0)]
        assert await find(tenant, agent, name="a b") == [(under, 0.9)]
        assert await find(tenant, agent, name="-rock") == [(quoted, 0.633333), (rock, 0.633333)]
        assert await find(tenant, agent, name="5") == [(minus, 0.7)]
        assert await find(tenant, agent, name="\u00ad") == [(invisible, 1.0)]
        assert await find(tenant, agent, name="?") == []

    @pytest.mark.parametrize(
        "name", ["'", '"', "\\", "a:*", "\\d+ (", "%%", "日本", "\t\n", "x" * 500, "ﷺ" * 500, "a\tb"]
    )
    async def test_no_name_is_an_error(self, store: MemoryStore, name: str) -> None:
        tenant, agent = uuid4(), uuid4()
        (entity,) = await add_named(store, tenant, agent, name)
        assert await store.find_entities(tenant, agent, name=name) == [(entity, 1.0)]

    async def test_the_first_64_words_are_looked_for(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        seen, _ = await add_named(store, tenant, agent, "tea063", "tea064")
        name = " ".join(f"tea{number:03}" for number in range(70))
        found = await store.find_entities(tenant, agent, name=name)
        assert found == [(seen, 0.50625)]

    async def test_a_renamed_entity_is_found_by_its_new_name(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        (entity,) = await add_named(store, tenant, agent, "Müller")
        find = store.find_entities
        for name in ("MÜLLER", "Weiß"):
            entity.name = name
            await store.save_entity(entity)
            assert await find(tenant, agent, name=name.lower()) == [(entity, 1.0)]
        assert await find(tenant, agent, name="Müller") == []
        for name in ("WEISS", "Çelik"):
            entity.name = name
            await store.save_entity(entity, overwrite=True)
            assert await find(tenant, agent, name=name.casefold()) == [(entity, 1.0)]
        entity.entity_type = "company"
        await store.save_entity(entity)
        assert await find(tenant, agent, name="çelik") == [(entity, 1.0)]
        new = make_entity(tenant, agent, name="ÖZ")
        await store.save_entity(new)
        assert await find(tenant, agent, name="öz") == [(new, 1.0)]
        assert await find(tenant, agent, name="Weiß") == []

    async def test_names_are_looked_for_among_what_is_asked_for(self, store: MemoryStore) -> None:
        tenant, agent, customer = uuid4(), uuid4(), uuid4()
        mine = make_entity(tenant, agent, customer_profile_id=customer, recorded_at=at(2))
        past = make_entity(tenant, agent, name="ann", entity_type="order", valid_to=at(9), recorded_at=at(1))
        model = make_entity(tenant, agent, name="Anna", embedding=[1.0, 0.0], embedding_model="m", recorded_at=at(0))
        await store.add_entities([mine, past, model, make_entity(tenant, uuid4())])
        await store.add_entity(make_entity(uuid4(), agent))

        async def found(name: str = "Ann", **only: Any) -> list[Entity]:
            return [entity for entity, _ in await store.find_entities(tenant, agent, name=name, **only)]

        assert await found() == [mine, past, model]
        assert await found(customer_profile_id=customer) == [mine]
        assert await found(entity_type="order") == [past]
        assert await found(as_of=at(9)) == [mine, model]
        assert await found(embedding_model="m") == [model]
        assert await found("Bob") == []

    async def test_with_a_vector_a_name_leaves_out_what_it_does_not_match(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        same, word, begun, other, without = (
            make_entity(tenant, agent, name="Ann", embedding=[1.0, 1.0]),
            make_entity(tenant, agent, name="Ann Smith", embedding=[1.0, 0.0]),
            make_entity(tenant, agent, name="ANNA", embedding=[0.0, 1.0]),
            make_entity(tenant, agent, name="Bob", embedding=[1.0, 0.0]),
            make_entity(tenant, agent, name="Ann"),
        )
        await store.add_entities([same, word, begun, other, without])
        found = await store.find_entities(tenant, agent, name="ann", query_embedding=[1.0, 0.0])
        assert found == [(word, 1.0), (same, 0.707107), (begun, 0.0)]
        found = await store.find_entities(tenant, agent, name="ann", query_embedding=[1.0, 0.0], min_score=0.1)
        assert found == [(word, 1.0), (same, 0.707107)]
