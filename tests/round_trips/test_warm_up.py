"""What a first call costs on top: of a connection, of a tenant in a process, and after a cache has expired."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from uuid import uuid4

from convostore.postgres import PostgresMemoryStore, PostgresSessionStore, create_pool
from convostore.testing.factories import make_session
from convostore.tiered import TieredSessionStore
from tests.round_trips.conftest import Counted


async def test_a_new_connection_to_postgresql_takes_few_round_trips(counted: Counted) -> None:
    async with await create_pool(counted.dsn, max_size=1) as pool:
        to_postgres, _ = await counted.round_trips(lambda: PostgresSessionStore(pool).get(uuid4()))
    assert 1 < to_postgres <= 12


async def test_a_hot_session_costs_a_round_trip_to_postgresql_only_after_its_tenants_lease(counted: Counted) -> None:
    persistent, session = PostgresSessionStore(counted.pool), make_session(uuid4())
    leased = TieredSessionStore(counted.client, persistent, hot_lease=timedelta(hours=1))
    expired = TieredSessionStore(counted.client, persistent, hot_lease=timedelta())
    await leased.save(session)
    for store, round_trips in ((leased, (0, 1)), (expired, (1, 1))):
        await store.get(session.session_id)
        for _ in range(2):
            assert await counted.round_trips(partial(store.get, session.session_id)) == round_trips


async def test_a_session_that_is_not_hot_costs_one_round_trip_to_each_server_before_it_is_returned(
    counted: Counted,
) -> None:
    store, session = TieredSessionStore(counted.client, PostgresSessionStore(counted.pool)), make_session(uuid4())
    unknown, tenant, another = uuid4(), session.tenant_id, uuid4()
    await store.save(session)
    misses = {
        "demoted": partial(store.get, session.session_id),
        "demoted, tenant given": partial(store.get, session.session_id, tenant_id=tenant),
        "unknown": partial(store.get, unknown),
        "unknown, tenant given": partial(store.get, unknown, tenant_id=tenant),
        "of another tenant": partial(store.get, session.session_id, tenant_id=another),
    }
    taken: dict[str, tuple[int, int]] = {}
    for _ in range(2):  # The first time prepares statements and loads scripts.
        for case, get in misses.items():
            await store.demote_to_persistent(session.session_id)
            taken[case] = await counted.round_trips(get)
            await store._promotions.background.drain()
    assert taken == dict.fromkeys(misses, (1, 1))


async def test_a_vector_search_asks_the_catalogue_again_after_its_copy_has_expired(counted: Counted) -> None:
    store = PostgresMemoryStore(counted.pool)

    async def search() -> None:
        await store.vector_search_episodes([1.0], uuid4(), uuid4())

    await search()
    assert await counted.round_trips(search) == (1, 0)
    store._nearest._spaces._expires = 0.0  # type: ignore[union-attr]
    assert await counted.round_trips(search) == (2, 0)
