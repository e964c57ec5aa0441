"""The contract of memory stores: the graph as it was, and entities and relationships found together."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from convostore.contracts import MemoryStore
from convostore.errors import ConflictError
from convostore.models import Neighbourhood
from convostore.models.fields import now
from convostore.testing.base import StoreContract
from convostore.testing.factories import at, make_entity, make_relationship
from convostore.testing.memory.graph import add_entities, connect


class ValidityContract(StoreContract):
    """What was true at a moment, and what stopped being true."""

    async def test_lists_show_what_is_valid_at_a_moment(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        past = make_entity(tenant, agent, recorded_at=at(2), valid_from=at(0), valid_to=at(10))
        future = make_entity(tenant, agent, recorded_at=at(1), valid_from=at(10))
        await store.add_entities([past, future])
        assert await store.get_entities(tenant, agent, as_of=at(-1)) == []
        assert await store.get_entities(tenant, agent, as_of=at(0)) == [past]
        assert await store.get_entities(tenant, agent, as_of=at(10)) == [future]
        assert await store.get_entities(tenant, agent) == [past, future]
        before = await connect(store, past, future, valid_from=at(0), valid_to=at(10))
        after = await connect(store, past, future, valid_from=at(10))
        assert await store.get_relationships(tenant, agent, as_of=at(-1)) == []
        assert await store.get_relationships(tenant, agent, as_of=at(9)) == [before]
        assert await store.get_relationships(tenant, agent, as_of=at(10), from_entity_id=past.id) == [after]

    async def test_a_fact_that_stopped_being_true_is_kept_with_its_end(self, store: MemoryStore) -> None:
        a, b = await add_entities(store, 2)
        edge = await connect(store, a, b)
        stale, tenant = edge.model_copy(), a.tenant_id
        assert await store.invalidate_relationship(tenant, edge.id, at=at(5)) is True
        ended = edge.model_copy(update={"valid_to": at(5), "revision": 2})
        assert await store.get_relationship(tenant, edge.id) == ended
        assert await store.traverse_from_entities(tenant, [a.id]) == []
        assert await store.traverse_from_entities(tenant, [a.id], as_of=at(4)) == [ended]
        with pytest.raises(ConflictError) as caught:
            await store.save_relationship(stale)
        assert caught.value.current_revision == 2
        # Said again, or of a later moment, it changes nothing; of an earlier one it moves the end.
        for moment in (at(5), at(6), None):
            assert await store.invalidate_relationship(tenant, edge.id, at=moment) is True
            assert await store.get_relationship(tenant, edge.id) == ended
        assert await store.invalidate_relationship(tenant, edge.id, at=at(-5)) is True
        assert await store.get_relationship(tenant, edge.id) == ended.model_copy(
            update={"valid_to": at(-5), "revision": 3}
        )
        assert await store.get_relationships(tenant, a.agent_id, as_of=at(0)) == []

    async def test_invalidating_without_a_moment_means_now(self, store: MemoryStore) -> None:
        a, b = await add_entities(store, 2)
        edge = await connect(store, a, b)
        before = now()
        assert await store.invalidate_relationship(a.tenant_id, edge.id) is True
        stored = await store.get_relationship(a.tenant_id, edge.id)
        assert stored is not None
        assert stored.valid_to is not None
        assert before <= stored.valid_to <= now()
        assert await store.invalidate_relationship(a.tenant_id, uuid4()) is False
        assert await store.invalidate_relationship(uuid4(), edge.id) is False


class EntitySearchContract(StoreContract):
    """Entities by name, type and embedding; all of a graph's lists as streams."""

    async def test_entities_are_found_by_name_and_type(self, store: MemoryStore) -> None:
        tenant, agent, customer = uuid4(), uuid4(), uuid4()
        ann, order, other = (
            make_entity(tenant, agent, recorded_at=at(3)),
            make_entity(tenant, agent, recorded_at=at(2), entity_type="order"),
            make_entity(tenant, agent, recorded_at=at(1), name="Carl", customer_profile_id=customer, valid_to=at(9)),
        )
        await store.add_entities([ann, order, other])
        find = store.find_entities
        assert await find(tenant, agent, name="Ann") == [(ann, 1.0), (order, 1.0)]
        assert await find(tenant, agent, name="Ann", entity_type="order") == [(order, 1.0)]
        assert await find(tenant, agent, customer_profile_id=customer) == [(other, 1.0)]
        assert await find(tenant, agent, as_of=at(9)) == [(ann, 1.0), (order, 1.0)]
        assert await find(tenant, agent, limit=1, offset=2) == [(other, 1.0)]
        assert await find(tenant, agent, name="Bob") == []
        assert await find(uuid4(), agent, name="Ann") == []
        assert await find(tenant, uuid4()) == []

    async def test_entities_are_found_by_embedding(self, store: MemoryStore) -> None:
        tenant, agent, customer = uuid4(), uuid4(), uuid4()
        near = make_entity(tenant, agent, id=UUID(int=2), embedding=[3.0, 4.0], embedding_model="m")
        tied = make_entity(tenant, agent, id=UUID(int=1), embedding=[6.0, 8.0], name="Bob", valid_to=at(9))
        same = make_entity(tenant, agent, embedding=[2.0, 0.0], customer_profile_id=customer, entity_type="order")
        await store.add_entities(
            [near, tied, same, make_entity(tenant, agent), make_entity(tenant, agent, embedding=[1])]
        )

        async def found(**only: object) -> list[object]:
            query = {"query_embedding": [1.0, 0.0], **only}
            return list(await store.find_entities(tenant, agent, **query))  # type: ignore[arg-type]

        assert await found() == [(same, 1.0), (tied, 0.6), (near, 0.6)]
        assert await found(limit=1, offset=1) == [(tied, 0.6)]
        assert await found(min_score=0.7) == [(same, 1.0)]
        assert await found(name="Bob") == [(tied, 0.6)]
        assert await found(entity_type="order", customer_profile_id=customer) == [(same, 1.0)]
        assert await found(embedding_model="m") == [(near, 0.6)]
        assert await found(as_of=at(9)) == [(same, 1.0), (near, 0.6)]
        assert await found(query_embedding=[-1.0, 0.0]) == []

    async def test_entities_and_relationships_have_cursors_and_streams(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        entities = [make_entity(tenant, agent, recorded_at=at(number // 3)) for number in range(7)]
        hub = entities[0]
        await store.add_entities(entities)
        edges = [make_relationship(hub, entity, recorded_at=at(number // 3)) for number, entity in enumerate(entities)]
        await store.add_relationships(edges)
        listed = await store.get_entities(tenant, agent)
        assert [entity async for entity in store.iter_entities(tenant, agent)] == listed
        assert [entity async for entity in store.iter_entities(tenant, agent, as_of=at(-1))] == []
        assert await store.get_entities(tenant, agent, after=listed[2], limit=2) == listed[3:5]
        found = await store.get_relationships(tenant, agent)
        assert [edge async for edge in store.iter_relationships(tenant, agent, from_entity_id=hub.id)] == found
        assert [edge async for edge in store.iter_relationships(tenant, agent, relation_type="owns")] == []
        assert await store.get_relationships(tenant, agent, after=found[4]) == found[5:]


class NeighbourhoodContract(StoreContract):
    """Entities and relationships together."""

    async def test_a_neighbourhood_has_the_edges_and_all_their_ends(self, store: MemoryStore) -> None:
        a, b, c, d = await add_entities(store, 4)
        one, two, three = await connect(store, a, b), await connect(store, c, b), await connect(store, c, d)
        tenant = a.tenant_id
        look = store.neighbourhood
        assert await look(tenant, [a.id]) == Neighbourhood(entities=[a, b], relationships=[one])
        assert await look(tenant, [a.id], max_depth=2) == Neighbourhood(entities=[a, b, c], relationships=[one, two])
        everything = Neighbourhood(entities=[a, b, c, d], relationships=[one, two, three])
        assert await look(tenant, [a.id, uuid4()], max_depth=10) == everything
        assert await look(tenant, [d.id], relationship_types=[]) == Neighbourhood(entities=[d])
        assert await look(tenant, [d.id], as_of=at(-1)) == Neighbourhood(entities=[d])
        assert await look(tenant, []) == await look(uuid4(), [a.id]) == Neighbourhood()

    async def test_entities_come_by_depth_then_recorded_then_id(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        start = make_entity(tenant, agent, recorded_at=at(9))
        late, b, a, far = (
            make_entity(tenant, agent, recorded_at=at(second), id=UUID(int=number), valid_to=at(1))
            for second, number in ((2, 4), (1, 3), (1, 2), (0, 1))
        )
        await store.add_entities([start, late, b, a, far])
        edges = [make_relationship(start, entity) for entity in (late, b, a)] + [make_relationship(far, late)]
        await store.add_relationships([*edges, make_relationship(start, start), make_relationship(a, start)])
        found = await store.neighbourhood(tenant, [start.id, start.id], max_depth=2)
        assert found.entities == [start, a, b, late, far]
        assert found.relationships == await store.traverse_from_entities(tenant, [start.id], max_depth=2)

    async def test_a_neighbourhood_stays_in_its_tenant_even_where_ids_collide(self, store: MemoryStore) -> None:
        a, b = await add_entities(store, 2)
        edge, tenant = await connect(store, a, b), uuid4()
        theirs = [entity.model_copy(update={"tenant_id": tenant, "name": "theirs", "revision": 0}) for entity in (a, b)]
        await store.add_entities(theirs)
        assert await store.neighbourhood(tenant, [a.id]) == Neighbourhood(entities=[theirs[0]])
        assert await store.neighbourhood(a.tenant_id, [a.id]) == Neighbourhood(entities=[a, b], relationships=[edge])
