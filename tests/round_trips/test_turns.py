"""A turn costs one round trip to be loaded, and one and the two of the hot copy to be committed."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import TurnStore
from convostore.errors import ConflictError
from convostore.models import Session
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    PostgresTurnStore,
)
from convostore.testing.factories import (
    make_agent,
    make_asset,
    make_entity,
    make_episode,
    make_event,
    make_field,
    make_profile,
    make_relationship,
    make_rule,
    make_session,
    make_turn,
)
from convostore.tiered import TieredSessionStore
from tests.round_trips.conftest import Counted

VECTOR = [1.0, 2.0, 3.0]


def turns(counted: Counted, *, tiered: bool) -> TurnStore:
    """Return a store of turns on the counted servers."""
    pool = counted.pool
    persistent = PostgresSessionStore(pool)
    return PostgresTurnStore(
        TieredSessionStore(counted.client, persistent) if tiered else persistent,
        PostgresConfigStore(pool),
        PostgresMemoryStore(pool),
        PostgresAuditStore(pool),
        PostgresProfileStore(pool),
    )


async def commit(store: TurnStore, session: Session, profile: UUID, *more: tuple[Any, ...]) -> None:
    """Commit what a turn usually has, and more."""
    tenant, agent = session.tenant_id, session.agent_id
    async with store.unit_of_work(tenant) as work:
        work.save_session(session)
        work.update_field(profile, make_field())
        work.update_field(profile, make_field("size"))
        work.add_episodes([make_episode(tenant, agent, embedding=VECTOR) for _ in range(2)])
        work.save_turn(make_turn(tenant, session_id=session.session_id, turn_number=session.revision))
        work.save_event(make_event(tenant, session_id=session.session_id))
        for method, *arguments in more:
            getattr(work, method)(*arguments)


async def prepared(store: TurnStore) -> tuple[Session, UUID]:
    tenant = uuid4()
    agent, profile = make_agent(tenant), make_profile(tenant)
    session = make_session(tenant, agent_id=agent.id, customer_profile_id=profile.id)
    await store.config.save_agent(agent)
    await store.config.save_rule(make_rule(tenant, agent.id, embedding=VECTOR))
    await store.profiles.save_profile(profile)
    await store.sessions.save(session)
    return session, profile.id


@pytest.mark.parametrize(("tiered", "redis"), [(False, 0), (True, 2)], ids=["PostgreSQL", "two tiers"])
async def test_a_unit_costs_one_round_trip_and_two_of_the_hot_copy(
    counted: Counted, *, tiered: bool, redis: int
) -> None:
    store = turns(counted, tiered=tiered)
    session, profile = await prepared(store)
    await commit(store, session, profile)
    assert await counted.round_trips(lambda: commit(store, session, profile)) == (1, redis)
    a, b = (make_entity(session.tenant_id, session.agent_id) for _ in range(2))
    graph = [("add_relationships", [make_relationship(a, b)]), ("add_entities", [a, b])]
    await commit(store, session, profile, ("add_entities", [make_entity(a.tenant_id, a.agent_id)]))
    await commit(store, session, profile, *graph)
    c, d = (make_entity(session.tenant_id, session.agent_id) for _ in range(2))
    graph = [("add_relationships", [make_relationship(c, d)]), ("add_entities", [c, d])]
    assert await counted.round_trips(lambda: commit(store, session, profile, *graph)) == (1, redis)


@pytest.mark.parametrize(("tiered", "redis"), [(False, 0), (True, 2)], ids=["PostgreSQL", "two tiers"])
async def test_assets_and_further_sessions_cost_no_further_round_trip(
    counted: Counted, *, tiered: bool, redis: int
) -> None:
    store = turns(counted, tiered=tiered)
    session, profile = await prepared(store)
    others = [make_session(session.tenant_id) for _ in range(2)]

    async def commit_more() -> None:
        more = [("add_asset", profile, make_asset()) for _ in range(2)]
        await commit(store, session, profile, *more, *(("save_session", each) for each in others))

    async def commit_assets() -> None:
        async with store.unit_of_work(session.tenant_id) as work:
            work.add_asset(profile, make_asset())

    for each in (commit_more, commit_assets):
        for _ in range(2):
            await each()
    assert await counted.round_trips(commit_assets) == (1, 0)
    trips, exchanged = await counted.round_trips(commit_more)
    assert (trips, min(exchanged, 2)) == (1, redis)


@pytest.mark.parametrize("tiered", [False, True], ids=["PostgreSQL", "two tiers"])
@pytest.mark.parametrize("query", [None, "tea"], ids=["vectors", "hybrid"])
async def test_a_turn_is_loaded_in_one_round_trip(counted: Counted, *, tiered: bool, query: str | None) -> None:
    store = turns(counted, tiered=tiered)
    session, _ = await prepared(store)
    identity: dict[str, Any] = {name: getattr(session, name) for name in ("agent_id", "channel", "user_channel_id")}
    new = identity | {"user_channel_id": "new"}
    for which in ({"session_id": session.session_id}, identity, new):

        async def load(which: dict[str, Any] = which) -> None:
            await store.load_turn(session.tenant_id, **which, query=query, query_embedding=VECTOR)

        for first in ("first", "second"):  # Without a configuration that is kept, and with one.
            await load({**which, "user_channel_id": first} if which is new else which)
        assert await counted.round_trips(load) == (1, 0)


async def test_a_configuration_that_has_changed_is_loaded_in_a_second_round_trip(counted: Counted) -> None:
    store = turns(counted, tiered=False)
    session, _ = await prepared(store)

    async def load() -> None:
        await store.load_turn(session.tenant_id, session_id=session.session_id)

    for _ in range(2):
        await load()
        await store.config.save_rule(make_rule(session.tenant_id, session.agent_id))
    assert await counted.round_trips(load) == (2, 0)
    assert await counted.round_trips(load) == (1, 0)


async def test_a_large_unit_costs_round_trips_by_the_hundreds_of_its_items(counted: Counted) -> None:
    store, tenant, agent = turns(counted, tiered=False), uuid4(), uuid4()

    async def load() -> None:
        async with store.within(60).unit_of_work(tenant) as work:
            work.add_episodes([make_episode(tenant, agent) for _ in range(600)])
            for number in range(200):
                work.save_turn(make_turn(tenant, turn_number=number))

    await load()
    # BEGIN, the generation, the episodes, the records and COMMIT; three behind a savepoint.
    assert await counted.round_trips(load) == (8, 0)


async def test_a_refused_unit_costs_a_transaction(counted: Counted) -> None:
    store = turns(counted, tiered=False)
    session, profile = await prepared(store)
    stale = session.model_copy(deep=True)
    await commit(store, session, profile)

    async def refused() -> None:
        with pytest.raises(ConflictError):
            await commit(store, stale.model_copy(deep=True), profile)

    await refused()
    # The statement; BEGIN, the generation, the save and its refusal, each behind a savepoint; ROLLBACK.
    trips, _ = await counted.round_trips(refused)
    assert trips <= 12
