"""Configuration: order, pages, cursors and filters of lists and of their streams."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from convostore.contracts import ConfigStore
from convostore.errors import ValidationError
from convostore.models import Scope
from convostore.testing.base import StoreContract
from convostore.testing.config.rows import ConfigRows, agent_of, every_config, made, save_rules
from convostore.testing.factories import make_agent, make_scenario, make_template


class ConfigListContract(StoreContract):
    """Lists and streams, whatever is listed."""

    @every_config
    async def test_lists_are_ordered_in_full(self, store: ConfigStore, rows: ConfigRows) -> None:
        tenant, agent = uuid4(), uuid4()
        items = [*rows.spread(tenant, agent)]
        for item in items:
            await rows.save(store, item)
        expected = sorted(items, key=lambda item: item.id)
        for column in reversed(rows.declaration.order):
            name = column.removeprefix("-")
            expected.sort(key=lambda item, name=name: getattr(item, name), reverse=column.startswith("-"))  # type: ignore[misc]
        assert await rows.list(store, tenant, agent) == expected

    @every_config
    async def test_pages_partition_a_list(self, store: ConfigStore, rows: ConfigRows) -> None:
        tenant, agent = uuid4(), uuid4()
        for _ in range(5):
            await rows.save(store, rows.make(tenant, agent))
        listed = await rows.list(store, tenant, agent)
        assert len(listed) == 5
        pages = [await rows.list(store, tenant, agent, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
        assert pages == [listed[:2], listed[2:4], listed[4:], []]

    @every_config
    async def test_a_cursor_continues_a_list(self, store: ConfigStore, rows: ConfigRows) -> None:
        items = made(rows, 5)
        await rows.save_all(store, items)
        tenant, agent = items[0].tenant_id, agent_of(items[0])
        listed = await rows.list(store, tenant, agent)
        for place, item in enumerate(listed):
            assert await rows.list(store, tenant, agent, after=item) == listed[place + 1 :]
            assert await rows.list(store, tenant, agent, after=item, limit=1, offset=1) == listed[place + 2 :][:1]
        with pytest.raises(ValidationError, match="tenant"):
            await rows.list(store, uuid4(), agent, after=listed[0])

    @every_config
    async def test_a_stream_continues_after_its_rows_are_deleted(self, store: ConfigStore, rows: ConfigRows) -> None:
        items = made(rows, 250)
        await rows.save_all(store, items)
        listed = await rows.list(store, items[0].tenant_id, agent_of(items[0]))
        seen = []
        async for item in rows.stream(store, items[0].tenant_id, agent_of(items[0])):
            seen.append(item.id)
            if len(seen) == 100:
                # What was seen, also the last of its page, need not be there any more.
                await asyncio.gather(*(rows.delete(store, gone) for gone in [*listed[:200:40], listed[199]]))
        assert seen == [item.id for item in listed]
        assert [item async for item in rows.stream(store, uuid4(), uuid4())] == []

    @every_config
    async def test_a_list_and_its_stream_have_the_same_filters(self, store: ConfigStore, rows: ConfigRows) -> None:
        tenant, agent = uuid4(), uuid4()
        items = [make(tenant, agent) for make in (rows.make, rows.full, rows.make)]
        await rows.save_all(store, items)
        listed = await rows.list(store, tenant, agent)
        assert {item.id for item in listed} == {item.id for item in items}
        for column, parameter in rows.filters.items():
            values = {getattr(item, column) for item in items}
            assert len(values) > 1, f"full_{rows} should differ from make_{rows} in {column}"
            for value in values - {None, False}:
                found = [item for item in listed if getattr(item, column) == value]
                assert await rows.list(store, tenant, agent, **{parameter: value}) == found
                assert [item async for item in rows.stream(store, tenant, agent, **{parameter: value})] == found


class ConfigFilterContract(StoreContract):
    """What particular lists are ordered and filtered by."""

    async def test_a_page_of_agents_comes_with_the_total(self, store: ConfigStore) -> None:
        tenant = uuid4()
        for number in range(25):
            await store.save_agent(make_agent(tenant, name=f"agent {number:02}", enabled=number % 5 != 0))
        agents, total = await store.get_agents(tenant)
        assert ([agent.name for agent in agents], total) == ([f"agent {number:02}" for number in range(20)], 25)
        agents, total = await store.get_agents(tenant, limit=3, offset=24)
        assert ([agent.name for agent in agents], total) == (["agent 24"], 25)
        agents, total = await store.get_agents(tenant, enabled_only=True, limit=2, offset=100)
        assert (agents, total) == ([], 20)

    async def test_rules_come_by_priority_then_name_then_id(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        b, a2, a1, high, low = await save_rules(
            store,
            tenant,
            agent,
            {"name": "b"},
            {"name": "a", "id": UUID(int=2)},
            {"name": "a", "id": UUID(int=1)},
            {"name": "z", "priority": 100},
            {"name": "a", "priority": -1},
        )
        assert await store.get_rules(tenant, agent) == [high, a1, a2, b, low]

    async def test_rules_are_filtered_by_scope_and_by_being_enabled(self, store: ConfigStore) -> None:
        tenant, agent, here = uuid4(), uuid4(), uuid4()
        everywhere, scenario, other, off = await save_rules(
            store,
            tenant,
            agent,
            {"name": "1"},
            {"name": "2", "scope": Scope.SCENARIO, "scope_id": here},
            {"name": "3", "scope": Scope.SCENARIO, "scope_id": uuid4()},
            {"name": "4", "enabled": False},
        )
        assert await store.get_rules(tenant, agent) == [everywhere, scenario, other]
        assert await store.get_rules(tenant, agent, enabled_only=False) == [everywhere, scenario, other, off]
        assert await store.get_rules(tenant, agent, scope=Scope.SCENARIO) == [scenario, other]
        assert await store.get_rules(tenant, agent, scope=Scope.SCENARIO, scope_id=here) == [scenario]
        assert await store.get_rules(tenant, agent, scope=Scope.STEP) == []
        assert await store.get_rules(tenant, uuid4()) == []

    async def test_templates_are_filtered_by_scope(self, store: ConfigStore) -> None:
        tenant, agent, here = uuid4(), uuid4(), uuid4()
        everywhere = make_template(tenant, agent, name="b")
        step = make_template(tenant, agent, name="a", scope=Scope.STEP, scope_id=here)
        for template in (everywhere, step):
            await store.save_template(template)
        assert await store.get_templates(tenant, agent) == [step, everywhere]
        assert await store.get_templates(tenant, agent, scope=Scope.GLOBAL) == [everywhere]
        assert await store.get_templates(tenant, agent, scope_id=here) == [step]

    async def test_disabled_scenarios_are_listed_on_request(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        on = make_scenario(tenant, agent, name="a")
        off = make_scenario(tenant, agent, name="b", enabled=False)
        for scenario in (on, off):
            await store.save_scenario(scenario)
        assert await store.get_scenarios(tenant, agent) == [on]
        assert await store.get_scenarios(tenant, agent, enabled_only=False) == [on, off]
