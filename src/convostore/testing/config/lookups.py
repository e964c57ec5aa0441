"""Configuration: rows found by other values than their id."""

from __future__ import annotations

from uuid import uuid4

import pytest

from convostore.contracts import ConfigStore
from convostore.errors import ConflictError
from convostore.testing.base import StoreContract
from convostore.testing.factories import make_tool_activation, make_variable


class LookupContract(StoreContract):
    """Variables by name, and tool activations by tool."""

    async def test_a_variable_is_found_by_name(self, store: ConfigStore) -> None:
        variable = make_variable(uuid4(), uuid4(), name="order_id")
        await store.save_variable(variable)
        find = store.get_variable_by_name
        assert await find(variable.tenant_id, variable.agent_id, "order_id") == variable
        assert await find(variable.tenant_id, variable.agent_id, "order") is None
        assert await find(variable.tenant_id, uuid4(), "order_id") is None
        assert await find(uuid4(), variable.agent_id, "order_id") is None
        await store.delete_variable(variable.tenant_id, variable.id)
        assert await find(variable.tenant_id, variable.agent_id, "order_id") is None

    async def test_the_tool_activation_deleted_last_is_restored(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        first = make_tool_activation(tenant, agent, tool_id="crm")
        second = make_tool_activation(tenant, agent, tool_id="crm", status="disabled")
        for activation in (first, second):
            await store.save_tool_activation(activation)
            await store.delete_tool_activation(tenant, agent, "crm")
        assert await store.restore_tool_activation(tenant, agent, "crm") is True
        assert await store.get_tool_activation(tenant, agent, "crm") == second
        with pytest.raises(ConflictError) as caught:
            await store.restore_tool_activation(tenant, agent, "crm")
        assert caught.value.code == "tool_activation_agent_id_tool_id_key"
