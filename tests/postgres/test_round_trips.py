"""How often each kind of call goes to the server and back, counted on the wire once its statements are prepared."""

from __future__ import annotations

from uuid import uuid4

import pytest

from convostore.errors import ConflictError
from convostore.models import Agent, Channel
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    create_pool,
)
from convostore.testing import factories
from convostore.testing.factories import make_agent, make_entity, make_episode, make_relationship, make_rule
from tests.postgres.counting import Counted

VECTOR = [1.0, 2.0, 3.0]


@pytest.fixture
async def agent(counted: Counted) -> Agent:
    """A stored agent with three rules that have vectors."""
    agent = make_agent(uuid4())
    store = PostgresConfigStore(counted.pool)
    await store.save_agent(agent)
    for _ in range(3):
        await store.save_rule(make_rule(agent.tenant_id, agent.id, embedding=VECTOR))
    return agent


async def test_configuration_takes_one_trip(counted: Counted, agent: Agent) -> None:
    store, tenant = PostgresConfigStore(counted.pool), agent.tenant_id
    rule = make_rule(tenant, agent.id)
    await store.save_rule(rule)
    counts = await counted.each(
        get=lambda: store.get_agent(tenant, agent.id),
        list=lambda: store.get_rules(tenant, agent.id),
        search=lambda: store.vector_search_rules(VECTOR, tenant, agent.id),
        save_new=lambda: store.save_rule(make_rule(tenant, agent.id)),
        save=lambda: store.save_rule(rule),
        save_many_new=lambda: store.save_rules([make_rule(tenant, agent.id) for _ in range(100)]),
        save_many=lambda: store.save_rules([rule, make_rule(tenant, agent.id)]),
        agent_config=lambda: store.get_agent_config(tenant, agent.id),
        overwrite=lambda: store.save_rule(rule, overwrite=True),
        delete=lambda: store.delete_rule(tenant, rule.id),
        restore=lambda: store.restore_rule(tenant, rule.id),
        delete_agent=lambda: store.delete_agent(tenant, agent.id),
        restore_agent=lambda: store.restore_agent(tenant, agent.id),
    )
    assert counts == dict.fromkeys(counts, 1)


async def test_what_takes_two_trips_in_the_configuration(counted: Counted, agent: Agent) -> None:
    store, stale = PostgresConfigStore(counted.pool), agent.model_copy(update={"revision": 99})

    async def refused() -> None:
        with pytest.raises(ConflictError):
            await store.save_agent(stale)

    # A page with its total, and a refused save, which asks why it was refused.
    counts = await counted.each(page=lambda: store.get_agents(agent.tenant_id), refused=refused)
    assert counts == {"page": 2, "refused": 2}


async def test_memory_takes_one_trip(counted: Counted) -> None:
    store, tenant, agent = PostgresMemoryStore(counted.pool), uuid4(), uuid4()
    source, target = make_entity(tenant, agent), make_entity(tenant, agent)
    for entity in (source, target):
        await store.add_entity(entity)
    counts = await counted.each(
        add_episode=lambda: store.add_episode(make_episode(tenant, agent, embedding=VECTOR)),
        add_entity=lambda: store.add_entity(make_entity(tenant, agent)),
        add_relationship=lambda: store.add_relationship(make_relationship(source, target)),
        save_entity=lambda: store.save_entity(source),
        get=lambda: store.get_entity(tenant, source.id),
        list=lambda: store.get_episodes(tenant, agent),
        vector_search=lambda: store.vector_search_episodes(VECTOR, tenant, agent),
        text_search=lambda: store.text_search_episodes("tea", tenant, agent),
        hybrid_search=lambda: store.search_episodes("tea", VECTOR, tenant, agent),
        find=lambda: store.find_entities(tenant, agent, query_embedding=VECTOR),
        traverse=lambda: store.traverse_from_entities(tenant, [source.id], max_depth=3),
        neighbourhood=lambda: store.neighbourhood(tenant, [source.id], max_depth=3),
        invalidate=lambda: store.invalidate_relationship(tenant, uuid4()),
        delete_entity=lambda: store.delete_entity(tenant, target.id),
        delete_by_group=lambda: store.delete_by_group(tenant, source.group_id),
        delete_by_customer=lambda: store.delete_by_customer(tenant, uuid4()),
    )
    assert counts == dict.fromkeys(counts, 1)


async def test_new_rows_take_one_trip_within_a_transaction_and_others_one_for_each_200(counted: Counted) -> None:
    store, tenant, agent = PostgresMemoryStore(counted.pool), uuid4(), uuid4()
    entities = [make_entity(tenant, agent) for _ in range(600)]
    await store.add_entities(entities)
    counts = await counted.each(
        few=lambda: store.add_episodes([make_episode(tenant, agent, embedding=VECTOR) for _ in range(10)]),
        many=lambda: store.add_episodes([make_episode(tenant, agent, embedding=VECTOR) for _ in range(600)]),
        again=lambda: store.add_entities(entities),
    )
    # BEGIN and COMMIT too; what was there already is read and compared.
    assert counts == {"few": 3, "many": 3, "again": 6}


async def test_the_audit_trail_takes_one_trip(counted: Counted) -> None:
    store, tenant = PostgresAuditStore(counted.pool), uuid4()
    turn = factories.make_turn(tenant)
    counts = await counted.each(
        add=lambda: store.save_turn(factories.make_turn(tenant)),
        event=lambda: store.save_event(factories.make_event(tenant)),
        get=lambda: store.get_turn(tenant, turn.turn_id),
        list=lambda: store.list_turns_by_tenant(tenant),
        list_of_session=lambda: store.list_turns_by_session(tenant, turn.session_id),
        after=lambda: store.list_turns_by_tenant(tenant, after=turn),
        records=lambda: store.list_records(tenant),
        again=lambda: store.save_turn(turn),
        turns=lambda: store.save_turns([factories.make_turn(tenant) for _ in range(100)]),
        events=lambda: store.save_events([factories.make_event(tenant) for _ in range(100)]),
        turns_again=lambda: store.save_turns([turn] * 100),
        heads=lambda: store.list_heads(tenant),
        bodies=lambda: store.list_bodies(tenant),
        prepare=lambda: store.prepare_months(),
    )
    assert counts == dict.fromkeys(counts, 1)


async def test_sessions_take_one_trip(counted: Counted) -> None:
    store, session = PostgresSessionStore(counted.pool), factories.full_session(uuid4())
    session.customer_profile_id = customer = uuid4()
    tenant, agent = session.tenant_id, session.agent_id
    await store.save(session)
    counts = await counted.each(
        save_new=lambda: store.save(factories.make_session(tenant)),
        save=lambda: store.save(session),
        get=lambda: store.get(session.session_id),
        by_channel=lambda: store.get_by_channel(tenant, session.channel, session.user_channel_id),
        by_agent=lambda: store.list_by_agent(tenant, agent),
        by_customer=lambda: store.list_by_customer(tenant, customer),
        by_step=lambda: store.find_sessions_by_step_hash(tenant, uuid4(), 1, "hash"),
        delete=lambda: store.delete(session.session_id),
    )
    assert counts == dict.fromkeys(counts, 1)


async def test_a_profile_is_read_in_one_trip_and_changed_in_two(counted: Counted) -> None:
    store, tenant = PostgresProfileStore(counted.pool), uuid4()
    profile = factories.full_profile(tenant)
    await store.save_profile(profile)
    identity = profile.channel_identities[0]
    reads = await counted.each(
        get=lambda: store.get_profile(tenant, profile.id),
        by_customer=lambda: store.get_by_customer_id(tenant, profile.customer_id),
        by_channel=lambda: store.get_by_channel_identity(tenant, identity.channel, identity.channel_user_id),
        list=lambda: store.list_profiles(tenant),
        get_or_create=lambda: store.get_or_create(tenant, identity.channel, identity.channel_user_id),
    )
    assert reads == dict.fromkeys(reads, 1)
    # A change reads what is there and writes it by one statement if it still is.
    changes = await counted.each(
        create=lambda: store.get_or_create(tenant, Channel.EMAIL, f"{uuid4()}@example.com"),
        save=lambda: store.save_profile(profile),
        field=lambda: store.update_field(tenant, profile.id, factories.make_field(value=str(uuid4()))),
        asset=lambda: store.add_asset(tenant, profile.id, factories.make_asset()),
        link=lambda: store.link_channel(tenant, profile.id, Channel.EMAIL, f"{uuid4()}@example.com"),
    )
    assert changes == dict.fromkeys(changes, 2)


async def test_merging_two_profiles_takes_two_trips(counted: Counted) -> None:
    store, tenant = PostgresProfileStore(counted.pool), uuid4()
    target, *sources = (factories.full_profile(tenant) for _ in range(3))
    for profile in (target, *sources):
        await store.save_profile(profile)
    for source in sources:
        counted.trips.taken()
        await store.merge_profiles(tenant, source.id, target.id)
    assert counted.trips.taken() == 2


async def test_a_new_connection_takes_few_trips_before_its_first_call(counted: Counted) -> None:
    async with await create_pool(counted.dsn, max_size=1) as fresh:
        counted.trips.taken()
        await PostgresSessionStore(fresh).get(uuid4())
    assert counted.trips.taken() <= 12
