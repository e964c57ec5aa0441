"""A store bound to a tenant serves that tenant alone."""

from __future__ import annotations

import contextlib
from typing import Any
from uuid import uuid4

import pytest

from convostore import open_stores
from convostore.call.store import Store
from convostore.errors import NotFoundError, ValidationError
from convostore.inmemory import InMemoryConfigStore, InMemorySessionStore
from convostore.testing.factories import make_agent, make_rule, make_scenario, make_session
from tests.unit.calls import METHODS, STORES, Method
from tests.unit.scripted import ScriptedSessions

FOR_ALL_TENANTS = ("sweep", "prepare_months", "drop_bodies")
"""Maintenance, which has no tenant."""

OF_A_TENANT = [method for method in METHODS if method.name not in FOR_ALL_TENANTS]
EVERY_METHOD = pytest.mark.parametrize("method", OF_A_TENANT, ids=str)
EVERY_STORE = pytest.mark.parametrize("store", STORES.values(), ids=lambda store: store.__name__)


@EVERY_METHOD
async def test_a_bound_store_refuses_a_call_that_names_another_tenant(method: Method) -> None:
    bound = STORES[method.contract]().for_tenant(uuid4())
    with pytest.raises(ValidationError, match="tenant_id: this store is bound to another tenant") as caught:
        await method.of(bound)(**method.arguments(uuid4()))
    assert (caught.value.store, caught.value.operation) == (method.contract.kind, method.name)


@EVERY_METHOD
async def test_a_bound_store_serves_its_own_tenant(method: Method) -> None:
    tenant = uuid4()
    bound = STORES[method.contract]().for_tenant(tenant)
    with contextlib.suppress(NotFoundError):
        await method.of(bound)(**method.arguments(tenant))


async def test_an_optional_tenant_defaults_to_the_bound_one() -> None:
    tenant, store = uuid4(), ScriptedSessions()
    await store.get(uuid4())
    await store.for_tenant(tenant).get(uuid4())
    await store.for_tenant(tenant).get(uuid4(), tenant_id=None)
    await store.for_tenant(tenant).get(uuid4(), tenant_id=tenant)
    assert store.seen == [None, tenant, tenant, tenant]


async def test_a_bound_store_finds_nothing_of_another_tenant() -> None:
    sessions, session = InMemorySessionStore(), make_session(uuid4())
    await sessions.save(session)
    stranger = sessions.for_tenant(uuid4())
    assert await stranger.get(session.session_id) is None
    assert await stranger.delete(session.session_id) is False
    assert await stranger.demote_to_persistent(session.session_id) is False
    assert await sessions.for_tenant(session.tenant_id).get(session.session_id) == session


async def test_a_bound_store_shares_the_data_and_leaves_the_store_unbound() -> None:
    config, one, other = InMemoryConfigStore(), make_agent(uuid4()), make_agent(uuid4())
    await config.for_tenant(one.tenant_id).save_agent(one)
    await config.save_agent(other)
    assert await config.get_agent(one.tenant_id, one.id) == one
    assert await config.for_tenant(other.tenant_id).get_agent(other.tenant_id, other.id) == other


async def test_a_refused_object_is_neither_stored_nor_changed() -> None:
    config, rule = InMemoryConfigStore(), make_rule(uuid4(), uuid4())
    before = rule.model_copy(deep=True)
    with pytest.raises(ValidationError, match="bound to another tenant"):
        await config.for_tenant(uuid4()).save_rule(rule)
    assert rule == before
    assert await config.get_rule(rule.tenant_id, rule.id) is None


async def test_an_archive_belongs_to_the_tenant_of_its_scenario() -> None:
    config, scenario = InMemoryConfigStore(), make_scenario(uuid4(), uuid4())
    with pytest.raises(ValidationError, match="one call must name one tenant"):
        await config.archive_scenario_version(uuid4(), scenario)


@EVERY_STORE
def test_a_bound_store_can_be_bound_again_to_the_same_tenant_only(store: type[Store]) -> None:
    tenant = uuid4()
    bound = store().for_tenant(tenant)
    assert type(bound) is store
    assert bound.for_tenant(tenant) is not None
    with pytest.raises(ValidationError, match="bound to another tenant"):
        bound.for_tenant(uuid4())


@EVERY_STORE
@pytest.mark.parametrize("wrong", [None, str(uuid4()), 5, uuid4().bytes], ids=["none", "text", "number", "bytes"])
def test_a_tenant_is_a_uuid(store: type[Store], wrong: Any) -> None:
    with pytest.raises(ValidationError, match="tenant_id: Input should be an instance of UUID"):
        store().for_tenant(wrong)


async def test_a_bound_store_keeps_its_deadline_and_conversely() -> None:
    tenant = uuid4()
    for store in (
        InMemorySessionStore().within(1).for_tenant(tenant),
        InMemorySessionStore().for_tenant(tenant).within(1),
    ):
        assert store._timeout == 1
        with pytest.raises(ValidationError, match="bound"):
            await store.list_by_agent(uuid4(), uuid4())


async def test_all_five_stores_are_bound_together() -> None:
    other = uuid4()
    async with open_stores(backend="memory") as opened:
        stores = opened.for_tenant(uuid4())
        for call in (
            stores.sessions.list_by_agent(other, uuid4()),
            stores.config.get_agents(other),
            stores.memory.get_entities(other, uuid4()),
            stores.audit.list_events(other),
            stores.profiles.list_profiles(other),
        ):
            with pytest.raises(ValidationError, match="bound to another tenant"):
                await call
        assert await opened.audit.list_events(other) == []
