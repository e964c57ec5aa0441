"""Twins through every method: the rows, keys and copies of the other stay byte for byte, and no cost tells of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.errors import NotFoundError
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.postgres.database import Database
from convostore.redis import RedisSessionStore, create_client
from convostore.testing.factories import make_session
from convostore.testing.isolation.calls import functions_of, methods_of
from convostore.testing.isolation.contract import answers, contract_of, filled
from convostore.testing.isolation.worlds import Ids, World
from convostore.tiered import TieredSessionStore
from tests.postgres.conftest import TABLES
from tests.postgres.databases import NO_TENANT, connected, distributed_database
from tests.postgres.rewriting import stores_on
from tests.redis.administration import MARK, all_keys, flush
from tests.round_trips.conftest import Counted
from tests.round_trips.conftest import counted as counted
from tests.round_trips.metering import metered, when
from tests.unit.calls import STORES

DATABASE = 6
"""The database of the shared Valkey that these tests empty and use."""


async def rows_of(dsn: str, tenant: Any) -> dict[str, list[str]]:
    """Return every row of a tenant in every table, as text."""
    async with connected(dsn) as admin:
        return {
            table: [
                text
                for (text,) in await admin.fetch(
                    f'SELECT t::text FROM convostore."{table}" AS t WHERE tenant_id = $1 ORDER BY 1', tenant
                )
            ]
            for (table,) in await admin.fetch(TABLES, NO_TENANT)
        }


async def keys_of(client: Any) -> dict[bytes, Any]:
    """Return every key with its value, as Redis dumps it."""
    dump = f"{MARK}\nreturn redis.call('DUMP', KEYS[1])"
    return {key: await client.eval(dump, 1, key) for key in sorted(await all_keys(client))}


async def call_everything(store: Any, world: World) -> int:
    """Call every method that concerns a tenant, those that delete last; return how many."""
    methods = methods_of(contract_of(store))
    methods.sort(key=lambda method: method.name.startswith(("delete_", "purge_")))
    await answers(store, methods, world)
    return len(methods)


def test_the_methods_that_concern_no_single_tenant_are_known() -> None:
    assert {name for contract in STORES for name in functions_of(contract)} - {
        method.name for contract in STORES for method in methods_of(contract)
    } == {
        *("sweep", "prepare_months", "drop_bodies"),
        "lock",
    }


@pytest.fixture(scope="module", params=[False, True], ids=["one server", "distributed"])
async def dsn(engines: Embedded, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A database, and one whose tables are distributed, by a stand-in for Citus."""
    if request.param:
        async with distributed_database(engines.postgres_dsn) as prepared:
            yield prepared
    else:
        yield engines.postgres_dsn


@pytest.mark.parametrize("kind", ["config", "memory", "audit", "profiles", "sessions"])
async def test_rows_of_a_twin_stay_as_they_are(dsn: str, kind: str, trust_facts: dict[str, Any]) -> None:
    async with await create_pool(dsn) as pool:
        store = stores_on(pool, sessions_by_tenant=await Database(pool).is_distributed())[kind]
        one, twin = await filled(store, ids := Ids()), await filled(store, ids, twin=True)
        before = await rows_of(dsn, twin.tenant)
        assert sum(map(len, before.values())) >= 3
        called = await call_everything(store, one)
        assert await rows_of(dsn, twin.tenant) == before
    trust_facts[f"methods of {kind} called beside a twin"] = called


@asynccontextmanager
async def sessions_on(engines: Embedded, client: Any, *, tiered: bool) -> AsyncIterator[Any]:
    """A session store on Valkey, or on two tiers."""
    if not tiered:
        yield (store := RedisSessionStore(client))
        await store.aclose()
        return
    async with await create_pool(engines.postgres_dsn) as pool:
        yield (both := TieredSessionStore(client, PostgresSessionStore(pool)))
        await both.aclose()


@pytest.mark.parametrize("tiered", [False, True], ids=["redis", "tiered"])
async def test_keys_and_copies_of_a_twin_stay_as_they_are(engines: Embedded, tiered: bool) -> None:
    await check_keys_and_copies(engines, tiered=tiered)


async def check_keys_and_copies(engines: Embedded, *, tiered: bool) -> None:
    """Check that keys, copies and rows of a twin are the same after every method was called beside it."""
    async with create_client(f"{engines.redis_url}?db={DATABASE}") as client:
        await flush(client)
        async with sessions_on(engines, client, tiered=tiered) as store:
            ids = Ids()
            twin = await filled(store, ids, twin=True)
            for session in twin.items["session"]:
                await store.get(session.session_id)
        before = await keys_of(client)
        rows = await rows_of(engines.postgres_dsn, twin.tenant)
        assert before
        async with sessions_on(engines, client, tiered=tiered) as store:
            await call_everything(store, await filled(store, ids))
        after = await keys_of(client)
        assert await rows_of(engines.postgres_dsn, twin.tenant) == rows
        shared = {key for key in before if key.endswith((b":hot", b":cold"))}
        assert {key: after.get(key) for key in before if key not in shared} == {
            key: value for key, value in before.items() if key not in shared
        }
        await flush(client)


@pytest.mark.parametrize("tiered", [False, True], ids=["redis", "tiered"])
async def test_a_session_of_another_tenant_costs_what_an_unknown_one_does(counted: Counted, tiered: bool) -> None:
    persistent = PostgresSessionStore(counted.pool)
    store: Any = TieredSessionStore(counted.client, persistent) if tiered else RedisSessionStore(counted.client)
    tenant, strange = uuid4(), make_session(uuid4())
    await store.save(make_session(tenant))
    await store.save(strange)
    await store.get(strange.session_id)
    measured = metered(store, counted.meter)
    names = [method.name for method in methods_of(SessionStore) if "session_id" in method.parameters]
    for name in names:
        for case, session_id in (("warm", uuid4()), ("unknown", uuid4()), ("strange", strange.session_id)):
            owner = {"owner": uuid4()} if name.endswith("_lock") else {}
            try:
                await getattr(when(measured, case), name)(session_id=session_id, tenant_id=tenant, **owner)
            except NotFoundError:
                continue
    await store.aclose()
    costs = {(call.method, call.case): cost for call, cost in counted.meter.costs.items()}
    assert len(names) >= 6
    assert {name: costs[name, "strange"] for name in names} == {name: costs[name, "unknown"] for name in names}
