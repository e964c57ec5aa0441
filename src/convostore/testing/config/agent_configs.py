"""Configuration: all that an agent needs for a turn, read at once."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from convostore.contracts import ConfigStore
from convostore.models import AgentConfig
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
