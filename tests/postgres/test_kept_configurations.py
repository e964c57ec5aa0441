"""Configurations of agents that a process keeps: no other process, and nobody else, changes them unnoticed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from convostore.embedded import Embedded
from convostore.models import Agent
from convostore.postgres import PostgresConfigStore, create_pool
from convostore.postgres.kept import Configuration, KeptConfigurations, size_of
from convostore.testing.factories import make_agent, make_rule
from tests.postgres.databases import connected


@pytest.fixture
async def stores(engines: Embedded) -> AsyncIterator[list[PostgresConfigStore]]:
    """Two stores that share nothing but the database, as those of two processes do."""
    async with await create_pool(engines.postgres_dsn) as one, await create_pool(engines.postgres_dsn) as other:
        yield [PostgresConfigStore(one), PostgresConfigStore(other)]


@pytest.fixture
async def agent(stores: list[PostgresConfigStore]) -> Agent:
    """An agent with two rules."""
    agent = make_agent(uuid4())
    await stores[0].save_agent(agent)
    await stores[0].save_rules([make_rule(agent.tenant_id, agent.id, name=name) for name in ("a", "b")])
    return agent


async def names(store: PostgresConfigStore, agent: Agent) -> list[str]:
    """Return the names of the rules that an agent's configuration has."""
    found = await store.get_agent_config(agent.tenant_id, agent.id)
    assert found is not None
    return [rule.name for rule in found.rules]


async def test_what_has_not_changed_is_not_sent_again(stores: list[PostgresConfigStore], agent: Agent) -> None:
    store, key = stores[0], (agent.tenant_id, agent.id)
    assert await names(store, agent) == ["a", "b"]
    kept = store._kept.get(key)
    assert await names(store.within(60), agent) == ["a", "b"]
    assert store._kept.get(key) is kept is not None
    # The agent itself is sent each time.
    agent.name = f"another {agent.id}"
    await store.save_agent(agent)
    found = await store.get_agent_config(*key)
    assert found is not None
    assert (found.agent, store._kept.get(key)) == (agent, kept)


async def test_another_process_is_not_missed(stores: list[PostgresConfigStore], agent: Agent) -> None:
    one, other = stores
    for store in stores:
        assert await names(store, agent) == ["a", "b"]
    config = await one.get_agent_config(agent.tenant_id, agent.id)
    assert config is not None
    (rule, second) = config.rules
    rule.name = "c"
    await other.save_rule(rule)
    assert await names(one, agent) == ["b", "c"]
    await other.delete_rule(agent.tenant_id, second.id)
    assert await names(one, agent) == ["c"]
    await other.delete_agent(agent.tenant_id, agent.id)
    assert await one.get_agent_config(agent.tenant_id, agent.id) is None
    assert one._kept.get((agent.tenant_id, agent.id)) is None


async def test_an_administrator_is_not_missed(
    engines: Embedded, stores: list[PostgresConfigStore], agent: Agent
) -> None:
    assert await names(stores[0], agent) == ["a", "b"]
    async with connected(engines.postgres_dsn) as admin:
        await admin.execute("UPDATE convostore.rule SET name = 'z' WHERE agent_id = $1 AND name = 'a'", agent.id)
        assert await names(stores[0], agent) == ["b", "z"]
        await admin.execute("DELETE FROM convostore.rule WHERE agent_id = $1 AND name = 'b'", agent.id)
    assert await names(stores[0], agent) == ["z"]


async def test_a_configuration_of_another_tenant_with_the_same_id_is_another(
    stores: list[PostgresConfigStore], agent: Agent
) -> None:
    twin = agent.model_copy(update={"tenant_id": uuid4(), "revision": 0})
    await stores[0].save_agent(twin)
    assert await names(stores[0], agent) == ["a", "b"]
    assert await names(stores[0], twin) == []
    assert await names(stores[0], agent) == ["a", "b"]


def test_what_was_not_asked_for_longest_is_given_up_for_memory() -> None:
    kept, tenant = KeptConfigurations(most=10_000), uuid4()
    keys = [(tenant, UUID(int=number)) for number in range(3)]
    for key in keys[:2]:
        kept.put(key, Configuration("", {}, size_of([["x" * 2_000]])))
    assert kept.get(keys[0]) is not None
    kept.put(keys[2], Configuration("", {}, size_of([["x" * 2_000]])))
    assert [kept.get(key) is not None for key in keys] == [True, False, True]
    kept.put(keys[0], Configuration("", {}, size_of([[[1.0] * 4_000]])))
    assert [kept.get(key) for key in keys] == [None, None, None]
