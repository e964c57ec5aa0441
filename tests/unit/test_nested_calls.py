"""A store called inside another's call: checks, tenant, deadline, retries and logs of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.call.call import Call, Proceed, current_call, running
from convostore.errors import ConnectionError, ValidationError
from convostore.inmemory import InMemoryConfigStore, InMemorySessionStore
from convostore.testing.factories import make_agent
from tests.unit.scripted import DriverError, ScriptedSessions


class Nesting(InMemorySessionStore):
    """Runs a test's code inside `get`."""

    def __init__(self, inside: Callable[[], Awaitable[Any]], **options: Any) -> None:
        super().__init__(**options)
        self._inside = inside

    async def get(self, session_id: UUID, *, tenant_id: UUID | None = None, max_staleness: float = 0.0) -> Any:
        return await self._inside()


async def test_a_store_called_inside_anothers_call_keeps_its_checks() -> None:
    config = InMemoryConfigStore()

    async def inside() -> Any:
        await config.get_rules(uuid4(), uuid4(), limit=0)

    with pytest.raises(ValidationError, match="limit") as caught:
        await Nesting(inside).get(uuid4())
    assert (caught.value.store, caught.value.operation) == ("config", "get_rules")


async def test_a_store_called_inside_anothers_call_keeps_its_tenant() -> None:
    config = InMemoryConfigStore().for_tenant(uuid4())

    async def inside() -> Any:
        await config.get_agent(uuid4(), uuid4())

    with pytest.raises(ValidationError, match="bound to another tenant"):
        await Nesting(inside).get(uuid4())


async def test_a_store_called_inside_anothers_call_hands_its_backend_a_copy() -> None:
    config, agent = InMemoryConfigStore(), make_agent(uuid4())

    async def inside() -> Any:
        await config.save_agent(agent)
        agent.metadata["late"] = True
        return await config.get_agent(agent.tenant_id, agent.id)

    stored = await Nesting(inside).get(uuid4())
    assert stored.metadata == {}
    assert agent.revision == 1


async def test_each_of_two_nested_calls_has_its_own_write_id() -> None:
    ids: list[UUID] = []
    inner = ScriptedSessions()

    async def inside() -> Any:
        ids.append(current_call().write_id)
        await inner.get(uuid4())

    await Nesting(inside).get(uuid4())
    assert len({*ids, *inner.write_ids}) == 2


async def test_an_inner_call_ends_with_the_outer_one() -> None:
    deadlines: list[float] = []

    async def inside() -> Any:
        async def note(call: Call, proceed: Proceed) -> Any:
            deadlines.append(call.deadline)
            return await proceed(call)

        store = InMemoryConfigStore().with_interceptors(note)
        await store.get_agents(uuid4())
        await store.within(0.01).get_agents(uuid4())
        return current_call().deadline

    outer = await Nesting(inside, timeout=1).get(uuid4())
    assert deadlines[0] == outer
    assert deadlines[1] < outer


async def test_the_failure_of_an_inner_call_is_logged_once_and_not_repeated_by_the_outer_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    inner = ScriptedSessions(*[DriverError("loading")] * 99)
    runs: list[int] = []

    async def inside() -> Any:
        runs.append(1)
        await inner.get(uuid4())

    with caplog.at_level("DEBUG", "convostore"), pytest.raises(ConnectionError):
        await Nesting(inside).get(uuid4())
    assert (len(runs), inner.attempts) == (1, 5)
    assert len(caplog.records) == 1


class Extending(ScriptedSessions):
    """Does what its parent does, and more."""

    async def delete(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        return not await super().delete(session_id, tenant_id=tenant_id)


async def test_a_method_may_extend_that_of_its_parent() -> None:
    store = Extending()
    assert await store.delete(uuid4()) is False
    assert store.attempts == 1


async def test_outside_a_call_there_is_no_current_one() -> None:
    assert running.get() is None
    with pytest.raises(RuntimeError, match="no call"):
        current_call()
