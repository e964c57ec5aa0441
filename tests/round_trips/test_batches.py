"""A batch costs round trips by the hundreds of its items, not one for each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from convostore.postgres import PostgresAuditStore, PostgresConfigStore, PostgresMemoryStore, PostgresSessionStore
from convostore.testing.factories import make_entity, make_episode, make_rule, make_session, make_turn
from tests.round_trips.conftest import Counted


async def test_configuration_is_saved_in_one_round_trip(counted: Counted) -> None:
    store, tenant, agent = PostgresConfigStore(counted.pool), uuid4(), uuid4()
    rules = [make_rule(tenant, agent) for _ in range(100)]
    await store.save_rules(rules)
    assert await counted.round_trips(lambda: store.save_rules(rules)) == (1, 0)
    new = [make_rule(tenant, agent) for _ in range(100)]
    assert await counted.round_trips(lambda: store.save_rules(new)) == (1, 0)


async def test_records_are_saved_in_one_round_trip(counted: Counted) -> None:
    store, tenant = PostgresAuditStore(counted.pool), uuid4()
    turns = [make_turn(tenant) for _ in range(100)]
    await store.save_turns(turns)
    assert await counted.round_trips(lambda: store.save_turns(turns)) == (1, 0)
    new = [make_turn(tenant) for _ in range(100)]
    assert await counted.round_trips(lambda: store.save_turns(new)) == (1, 0)


async def test_up_to_200_are_added_in_one_round_trip_more_in_one_within_a_transaction_and_read_back_in_one_for_each_200(
    counted: Counted,
) -> None:
    store, tenant, agent = PostgresMemoryStore(counted.pool), uuid4(), uuid4()
    entities = [make_entity(tenant, agent) for _ in range(600)]
    few, many = (
        [make_episode(tenant, agent, embedding=[1.0, 2.0, 3.0]) for _ in range(number)] for number in (200, 600)
    )
    await store.add_entities(entities)
    await store.add_episodes([make_episode(tenant, agent) for _ in range(200)])
    assert await counted.round_trips(lambda: store.add_episodes(few)) == (1, 0)
    await store.add_episodes([make_episode(tenant, agent) for _ in range(201)])
    # BEGIN and COMMIT are a round trip each.
    assert await counted.round_trips(lambda: store.add_episodes(many)) == (3, 0)
    # What is stored already is read and compared; the first repetition prepares the statements for that.
    await store.add_entities(entities)
    assert await counted.round_trips(lambda: store.add_entities(entities)) == (6, 0)


async def test_old_sessions_of_many_tenants_are_swept_in_two_round_trips(counted: Counted) -> None:
    then = datetime(1990, 1, 1, tzinfo=UTC)
    writer = PostgresSessionStore(counted.pool, clock=lambda: then)
    sweeper = PostgresSessionStore(counted.pool, max_age=timedelta(days=1), clock=lambda: then + timedelta(days=2))
    for trips in (None, (2, 0)):
        for _ in range(20):
            await writer.save(make_session(uuid4()))
        # The first sweep prepares the statements.
        swept = await counted.round_trips(sweeper.sweep)
        assert trips in (None, swept)
    assert await counted.round_trips(sweeper.sweep) == (1, 0)
