"""The contract of memory stores: the graph of entities and relationships."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import MemoryStore
from convostore.errors import ConflictError, NotFoundError, ValidationError
from convostore.models import Entity, Relationship
from convostore.models.fields import now
from convostore.testing.base import StoreContract
from convostore.testing.factories import at, full_entity, full_relationship, make_entity, make_relationship


async def add_entities(store: MemoryStore, count: int, tenant: UUID | None = None) -> list[Entity]:
    """Add entities of one agent."""
    tenant, agent = tenant or uuid4(), uuid4()
    entities = [make_entity(tenant, agent, name=f"entity {number}") for number in range(count)]
    for entity in entities:
        await store.add_entity(entity)
    return entities


async def connect(store: MemoryStore, source: Entity, target: Entity, **changes: Any) -> Relationship:
    """Add a relationship."""
    edge = make_relationship(source, target, **changes)
    await store.add_relationship(edge)
    return edge


class EntityContract(StoreContract):
    """Entities as rows."""

    async def test_an_entity_is_read_back_equal(self, store: MemoryStore) -> None:
        for entity in (make_entity(uuid4(), uuid4()), full_entity(uuid4(), uuid4())):
            assert await store.add_entity(entity) == entity.id
            assert entity.revision == 1
            assert await store.get_entity(entity.tenant_id, entity.id) == entity

    async def test_adding_an_entity_again_is_a_no_op_and_other_content_a_conflict(self, store: MemoryStore) -> None:
        (entity,) = await add_entities(store, 1)
        again = entity.model_copy(update={"revision": 0})
        await store.add_entity(again)
        assert again == entity
        with pytest.raises(ConflictError) as caught:
            await store.add_entity(entity.model_copy(update={"name": "other"}))
        assert caught.value.code == "entity_pkey"
        assert await store.get_entities(entity.tenant_id, entity.agent_id) == [entity]

    async def test_saving_an_entity_is_a_compare_and_set_on_the_revision(self, store: MemoryStore) -> None:
        (entity,) = await add_entities(store, 1)
        stale = entity.model_copy()
        entity.name = "renamed"
        await store.save_entity(entity)
        assert entity.revision == 2
        assert await store.get_entity(entity.tenant_id, entity.id) == entity
        with pytest.raises(ConflictError) as caught:
            await store.save_entity(stale)
        assert caught.value.current_revision == 2
        await store.save_entity(stale, overwrite=True)
        assert stale.revision == 3
        copies = [stale.model_copy() for _ in range(5)]
        results = await asyncio.gather(*map(store.save_entity, copies), return_exceptions=True)
        assert sum(isinstance(result, ConflictError) for result in results) == 4

    async def test_a_new_entity_can_be_saved_too(self, store: MemoryStore) -> None:
        entity = make_entity(uuid4(), uuid4())
        await store.save_entity(entity)
        assert await store.get_entity(entity.tenant_id, entity.id) == entity
        with pytest.raises(ConflictError):
            await store.save_entity(entity.model_copy(update={"revision": 0}))

    async def test_entities_are_filtered_and_come_last_recorded_first(self, store: MemoryStore) -> None:
        tenant, agent, customer = uuid4(), uuid4(), uuid4()
        old = make_entity(tenant, agent, recorded_at=at(1), entity_type="order")
        b = make_entity(tenant, agent, recorded_at=at(2), id=UUID(int=2), customer_profile_id=customer)
        a = make_entity(tenant, agent, recorded_at=at(2), id=UUID(int=1), customer_profile_id=customer)
        for entity in (old, b, a):
            await store.add_entity(entity)
        assert await store.get_entities(tenant, agent) == [a, b, old]
        assert await store.get_entities(tenant, agent, entity_type="order") == [old]
        assert await store.get_entities(tenant, agent, customer_profile_id=customer) == [a, b]
        assert await store.get_entities(tenant, agent, limit=1, offset=1) == [b]
        assert await store.get_entities(tenant, uuid4()) == []

    async def test_tenants_do_not_see_each_others_graph(self, store: MemoryStore) -> None:
        mine, friend = await add_entities(store, 2)
        edge = await connect(store, mine, friend)
        tenant = uuid4()
        assert await store.get_entity(tenant, mine.id) is None
        assert await store.get_entities(tenant, mine.agent_id) == []
        assert await store.get_relationship(tenant, edge.id) is None
        assert await store.get_relationships(tenant, mine.agent_id) == []
        assert await store.delete_entity(tenant, mine.id) is False
        assert await store.delete_relationship(tenant, edge.id) is False
        assert await store.traverse_from_entities(tenant, [mine.id]) == []
        theirs = mine.model_copy(update={"tenant_id": tenant, "name": "theirs", "revision": 0})
        await store.add_entity(theirs)
        assert await store.get_entity(mine.tenant_id, mine.id) == mine

    async def test_deleting_an_entity_takes_its_relationships(self, store: MemoryStore) -> None:
        a, b, c = await add_entities(store, 3)
        await connect(store, a, b)
        await connect(store, b, a)
        kept = await connect(store, b, c)
        assert await store.delete_entity(a.tenant_id, a.id) is True
        assert await store.delete_entity(a.tenant_id, a.id) is False
        assert await store.get_entity(a.tenant_id, a.id) is None
        assert await store.get_relationships(a.tenant_id, a.agent_id) == [kept]
        with pytest.raises(ConflictError):
            await store.save_entity(a)


class RelationshipContract(StoreContract):
    """Relationships as rows."""

    async def test_a_relationship_is_read_back_equal(self, store: MemoryStore) -> None:
        a, b = await add_entities(store, 2)
        for edge in (make_relationship(a, b), full_relationship(a, b), make_relationship(a, a)):
            assert await store.add_relationship(edge) == edge.id
            assert edge.revision == 1
            assert await store.get_relationship(edge.tenant_id, edge.id) == edge

    async def test_both_entities_must_exist_in_the_tenant(self, store: MemoryStore) -> None:
        a, b = await add_entities(store, 2)
        (stranger,) = await add_entities(store, 1)
        for ends in ({"to_entity_id": uuid4()}, {"from_entity_id": uuid4()}, {"to_entity_id": stranger.id}):
            edge = make_relationship(a, b, **ends)
            for write in (store.add_relationship, store.save_relationship):
                with pytest.raises(NotFoundError):
                    await write(edge)
            assert await store.get_relationship(a.tenant_id, edge.id) is None

    async def test_adding_a_relationship_again_is_a_no_op_and_other_content_a_conflict(
        self, store: MemoryStore
    ) -> None:
        a, b = await add_entities(store, 2)
        edge = await connect(store, a, b)
        await store.add_relationship(edge.model_copy(update={"revision": 0}))
        with pytest.raises(ConflictError) as caught:
            await store.add_relationship(edge.model_copy(update={"confidence": 0.5}))
        assert caught.value.code == "relationship_pkey"
        assert await store.get_relationships(a.tenant_id, a.agent_id) == [edge]

    async def test_saving_a_relationship_is_a_compare_and_set_on_the_revision(self, store: MemoryStore) -> None:
        a, b = await add_entities(store, 2)
        edge = await connect(store, a, b)
        stale = edge.model_copy()
        edge.confidence = 0.25
        await store.save_relationship(edge)
        assert edge.revision == 2
        assert await store.get_relationship(a.tenant_id, edge.id) == edge
        with pytest.raises(ConflictError) as caught:
            await store.save_relationship(stale)
        assert caught.value.current_revision == 2
        await store.save_relationship(stale, overwrite=True)
        assert stale.revision == 3

    async def test_relationships_are_filtered_and_deleted(self, store: MemoryStore) -> None:
        a, b, c = await add_entities(store, 3)
        first = await connect(store, a, b, recorded_at=at(1))
        second = await connect(store, a, c, recorded_at=at(2), relation_type="owns")
        third = await connect(store, c, b, recorded_at=at(3))
        tenant, agent = a.tenant_id, a.agent_id
        assert await store.get_relationships(tenant, agent) == [third, second, first]
        assert await store.get_relationships(tenant, agent, relation_type="owns") == [second]
        assert await store.get_relationships(tenant, agent, from_entity_id=a.id) == [second, first]
        assert await store.get_relationships(tenant, agent, to_entity_id=b.id) == [third, first]
        assert await store.get_relationships(tenant, agent, limit=1, offset=2) == [first]
        assert await store.delete_relationship(tenant, second.id) is True
        assert await store.delete_relationship(tenant, second.id) is False
        assert await store.get_relationships(tenant, agent) == [third, first]


class TraversalContract(StoreContract):
    """Following relationships."""

    async def test_edges_are_followed_both_ways_up_to_a_depth(self, store: MemoryStore) -> None:
        a, b, c, d = await add_entities(store, 4)
        one, two, three = await connect(store, a, b), await connect(store, c, b), await connect(store, c, d)
        tenant = a.tenant_id
        assert await store.traverse_from_entities(tenant, [a.id], max_depth=1) == [one]
        assert await store.traverse_from_entities(tenant, [a.id]) == [one, two]
        assert await store.traverse_from_entities(tenant, [a.id], max_depth=10) == [one, two, three]
        assert await store.traverse_from_entities(tenant, [d.id], max_depth=3) == [three, two, one]

    async def test_cycles_loops_and_parallel_edges_are_returned_once(self, store: MemoryStore) -> None:
        a, b, c = await add_entities(store, 3)
        edges = [
            await connect(store, a, b, recorded_at=at(1)),
            await connect(store, b, a, recorded_at=at(2)),
            await connect(store, a, a, recorded_at=at(3)),
            await connect(store, b, c, recorded_at=at(4)),
            await connect(store, c, a, recorded_at=at(0)),
        ]
        found = await store.traverse_from_entities(a.tenant_id, [a.id], max_depth=10)
        assert found == [edges[4], *edges[:4]]

    async def test_order_is_by_depth_then_recorded_then_id(self, store: MemoryStore) -> None:
        a, b, c = await add_entities(store, 3)
        deep = await connect(store, b, c, recorded_at=at(0))
        late = await connect(store, a, b, recorded_at=at(2))
        second = await connect(store, a, b, recorded_at=at(1), id=UUID(int=2))
        first = await connect(store, a, b, recorded_at=at(1), id=UUID(int=1))
        assert await store.traverse_from_entities(a.tenant_id, [a.id]) == [first, second, late, deep]

    async def test_several_starts_give_the_fewest_edges_from_any(self, store: MemoryStore) -> None:
        a, b, c, d = await add_entities(store, 4)
        one = await connect(store, a, b, recorded_at=at(3))
        two = await connect(store, b, c, recorded_at=at(2))
        three = await connect(store, c, d, recorded_at=at(1))
        starts = [a.id, d.id, uuid4(), a.id]
        assert await store.traverse_from_entities(a.tenant_id, starts, max_depth=1) == [three, one]
        assert await store.traverse_from_entities(a.tenant_id, starts) == [three, one, two]

    async def test_only_given_types_are_followed(self, store: MemoryStore) -> None:
        a, b, c = await add_entities(store, 3)
        knows = await connect(store, a, b)
        owns = await connect(store, b, c, relation_type="owns")
        go = store.traverse_from_entities
        assert await go(a.tenant_id, [a.id], relationship_types=["knows"]) == [knows]
        assert await go(a.tenant_id, [a.id], relationship_types=["owns"]) == []
        assert await go(a.tenant_id, [a.id], relationship_types=["owns", "knows"]) == [knows, owns]
        assert await go(a.tenant_id, [a.id], relationship_types=[]) == []

    async def test_only_edges_valid_at_the_moment_are_followed(self, store: MemoryStore) -> None:
        a, b, c = await add_entities(store, 3)
        past = await connect(store, a, b, valid_from=at(0), valid_to=at(10))
        future = await connect(store, a, c, valid_from=at(10))
        unborn = await connect(store, a, c, valid_from=now().replace(year=9000))
        go = store.traverse_from_entities
        assert await go(a.tenant_id, [a.id], as_of=at(-1)) == []
        assert await go(a.tenant_id, [a.id], as_of=at(0)) == [past]
        assert await go(a.tenant_id, [a.id], as_of=at(10)) == [future]
        assert await go(a.tenant_id, [a.id]) == [future]
        assert unborn in await go(a.tenant_id, [a.id], as_of=now().replace(year=9001))

    async def test_traversal_stays_in_its_tenant_even_where_ids_collide(self, store: MemoryStore) -> None:
        a, b = await add_entities(store, 2)
        edge = await connect(store, a, b)
        tenant = uuid4()
        for entity in (a, b):
            await store.add_entity(entity.model_copy(update={"tenant_id": tenant, "revision": 0}))
        changes = {"tenant_id": tenant, "from_entity_id": b.id, "to_entity_id": b.id, "revision": 0}
        theirs = edge.model_copy(update=changes)
        await store.add_relationship(theirs)
        assert await store.traverse_from_entities(a.tenant_id, [a.id], max_depth=10) == [edge]
        assert await store.traverse_from_entities(tenant, [a.id], max_depth=10) == []
        assert await store.traverse_from_entities(tenant, [b.id], max_depth=10) == [theirs]

    async def test_no_start_leads_nowhere_and_too_many_are_refused(self, store: MemoryStore) -> None:
        assert await store.traverse_from_entities(uuid4(), []) == []
        with pytest.raises(ValidationError, match="entity_ids"):
            await store.traverse_from_entities(uuid4(), [uuid4()] * 1_001)
