"""Configuration: all that an agent needs for a turn, read at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from convostore.contracts import ConfigStore
from convostore.models import AgentConfig
from convostore.models.fields import now
from convostore.testing.base import StoreContract
from convostore.testing.config.agent_cascades import save_agent, save_all_of
from convostore.testing.config.rows import OWNED_ROWS, ConfigRows, every_owned


class AgentConfigContract(StoreContract):
    """The configuration of a whole agent."""

    async def test_all_that_a_turn_needs_is_read_at_once(self, store: ConfigStore) -> None:
        agent = await save_agent(store, enabled=False)
        empty: dict[str, list[Any]] = {rows.declaration.plural: [] for rows in OWNED_ROWS}
        assert await store.get_agent_config(agent.tenant_id, agent.id) == AgentConfig(agent=agent, **empty)
        saved = await save_all_of(store, agent.tenant_id, agent.id)
        found = await store.get_agent_config(agent.tenant_id, agent.id)
        assert found == AgentConfig(agent=agent, **{rows.declaration.plural: [item] for rows, item in saved})
        assert await store.get_agent_config(uuid4(), agent.id) is None
        assert await store.get_agent_config(agent.tenant_id, uuid4()) is None
        await store.delete_agent(agent.tenant_id, agent.id)
        assert await store.get_agent_config(agent.tenant_id, agent.id) is None

    @every_owned
    async def test_a_part_has_the_living_rows_that_a_list_shows_by_default_in_its_order(
        self, store: ConfigStore, rows: ConfigRows
    ) -> None:
        agent = await save_agent(store)
        tenant, only = agent.tenant_id, rows.declaration.only
        wanted = [*rows.spread(tenant, agent.id), rows.full(tenant, agent.id)]
        wanted[-1].__dict__.update(only)
        deleted = rows.make(tenant, agent.id)
        hidden = [rows.make(tenant, agent.id, **{column: not value}) for column, value in only.items()]
        elsewhere = rows.make(tenant, uuid4())
        await rows.save_all(store, [*wanted, deleted, *hidden, elsewhere])
        await rows.save(store, wanted[0].model_copy(update={"tenant_id": uuid4(), "revision": 0}))
        await rows.delete(store, deleted)
        found = await store.get_agent_config(tenant, agent.id)
        assert found is not None
        parts = {other.declaration.plural: getattr(found, other.declaration.plural) for other in OWNED_ROWS}
        part = parts.pop(rows.declaration.plural)
        assert part == [item for item in await rows.list(store, tenant, agent.id) if item not in hidden]
        assert {item.id for item in part} == {item.id for item in wanted}
        assert not any(parts.values())

    @every_owned
    async def test_every_change_of_a_part_is_read_at_once(self, store: ConfigStore, rows: ConfigRows) -> None:
        agent = await save_agent(store)
        tenant, plural = agent.tenant_id, rows.declaration.plural

        async def check(*wanted: Any) -> None:
            for _ in range(2):
                found = await store.get_agent_config(tenant, agent.id)
                assert found is not None
                assert {item.id: item for item in getattr(found, plural)} == {item.id: item for item in wanted}

        one, other = rows.make(tenant, agent.id), rows.full(tenant, agent.id)
        other.__dict__.update(rows.declaration.only)
        await check()
        await rows.save(store, one)
        await check(one)
        await rows.save_all(store, [one, other])
        await check(one, other)
        await rows.save(store, one)
        await check(one, other)
        await rows.delete(store, other)
        await check(one)
        await rows.restore(store, other)
        await check(one, other)
        await rows.delete(store, one)
        await store.purge_deleted(tenant, before=now() + timedelta(hours=1))
        await check(other)
        await store.delete_agent(tenant, agent.id)
        assert await store.get_agent_config(tenant, agent.id) is None
        await store.restore_agent(tenant, agent.id)
        await check(other)

    async def test_what_was_read_before_is_not_what_a_caller_made_of_it(self, store: ConfigStore) -> None:
        agent = await save_agent(store)
        await save_all_of(store, agent.tenant_id, agent.id)
        first = await store.get_agent_config(agent.tenant_id, agent.id)
        again = await store.get_agent_config(agent.tenant_id, agent.id)
        assert first == again is not None
        changed = [again.agent, *(item for rows in OWNED_ROWS for item in getattr(again, rows.declaration.plural))]
        for item in changed:
            for value in item.__dict__.values():
                if isinstance(value, list | dict):
                    value.clear()
        again.rules.clear()
        assert await store.get_agent_config(agent.tenant_id, agent.id) == first

    async def test_embeddings_can_be_left_out(self, store: ConfigStore) -> None:
        agent = await save_agent(store)
        for rows in OWNED_ROWS:
            item = rows.full(agent.tenant_id, agent.id)
            item.__dict__.update(rows.declaration.only)
            await rows.save(store, item)
        complete = await store.get_agent_config(agent.tenant_id, agent.id)
        assert complete is not None
        (rule,), (scenario,) = complete.rules, complete.scenarios
        transitions = [transition for step in scenario.steps for transition in step.transitions]
        assert None not in (rule.embedding, scenario.entry_condition_embedding, transitions[0].condition_embedding)
        rule.embedding = scenario.entry_condition_embedding = None
        for transition in transitions:
            transition.condition_embedding = None
        for _ in range(2):
            found = await store.get_agent_config(agent.tenant_id, agent.id, embeddings=False)
            assert found == complete
