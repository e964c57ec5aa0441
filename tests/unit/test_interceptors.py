"""An application's interceptors: what they see of a call, in which order they stand, and what they may do."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.call.call import Call, Interceptor, Proceed
from convostore.call.effects import Effect
from convostore.errors import ConflictError, StoreError, ValidationError
from convostore.inmemory import InMemoryConfigStore, InMemorySessionStore
from convostore.testing.factories import make_rule, make_session
from tests.unit.scripted import DriverError, ScriptedSessions


class Seen:
    """Notes every call and what became of it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.errors: list[BaseException] = []

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        self.calls.append(call)
        try:
            return await proceed(call)
        except BaseException as error:
            self.errors.append(error)
            raise

    @property
    def operations(self) -> list[str]:
        return [call.operation for call in self.calls]


# What an application's interceptor sees.


async def test_an_interceptor_sees_a_call_as_it_was_made() -> None:
    seen, tenant, agent = Seen(), uuid4(), uuid4()
    store = InMemoryConfigStore().with_interceptors(seen)
    started = asyncio.get_running_loop().time()
    await store.get_rules(tenant, agent_id=agent, limit=5)
    (call,) = seen.calls
    assert (call.store, call.operation, call.tenant_id, call.effect) == ("config", "get_rules", tenant, Effect.READ)
    assert call.arguments == {"tenant_id": tenant, "agent_id": agent, "limit": 5}
    assert isinstance(call.write_id, UUID)
    assert 4 < call.deadline - started <= 6


@pytest.mark.parametrize(
    ("make", "effect"),
    [
        (lambda store, session: store.get(session.session_id), Effect.READ),
        (lambda store, session: store.save(session), Effect.IDEMPOTENT),
        (lambda store, session: store.save(session, overwrite=True), Effect.NON_IDEMPOTENT),
        (lambda store, session: store.delete(session.session_id), Effect.NON_IDEMPOTENT),
    ],
    ids=["get", "save", "overwrite", "delete"],
)
async def test_a_call_tells_its_effect(make: Callable[..., Awaitable[Any]], effect: Effect) -> None:
    seen = Seen()
    await make(InMemorySessionStore().with_interceptors(seen), make_session(uuid4()))
    assert [call.effect for call in seen.calls] == [effect]


async def test_the_tenant_of_a_call_is_that_of_its_model_or_of_its_store() -> None:
    seen, session = Seen(), make_session(uuid4())
    store = InMemorySessionStore().with_interceptors(seen)
    await store.save(session)
    await store.for_tenant(session.tenant_id).get(session.session_id)
    await store.get(session.session_id)
    assert [call.tenant_id for call in seen.calls] == [session.tenant_id, session.tenant_id, None]


async def test_every_page_of_a_stream_is_a_call() -> None:
    seen, tenant, agent = Seen(), uuid4(), uuid4()
    store = InMemoryConfigStore().with_interceptors(seen)
    await store.save_rules([make_rule(tenant, agent) for _ in range(450)])
    found = [rule async for rule in store.iter_rules(tenant, agent)]
    assert len(found) == 450
    assert seen.operations == ["save_rules"] + ["get_rules"] * 3


async def test_acquiring_renewing_and_releasing_a_lock_are_calls() -> None:
    renewed = asyncio.Event()
    seen = Seen()

    async def notice(call: Call, proceed: Proceed) -> Any:
        result = await proceed(call)
        if seen.operations.count("acquire_lock") == 2:
            renewed.set()
        return result

    session = make_session(uuid4())
    store = InMemorySessionStore().with_interceptors(seen, notice)
    await store.save(session)
    async with store.lock(session.session_id, ttl=0.1):
        await renewed.wait()
    assert seen.operations[:3] == ["save", "acquire_lock", "acquire_lock"]
    assert seen.operations[-1] == "release_lock"


async def test_the_deadline_of_within_is_seen() -> None:
    seen = Seen()
    started = asyncio.get_running_loop().time()
    await InMemorySessionStore().with_interceptors(seen).within(60).get(uuid4())
    assert seen.calls[0].deadline - started > 59


async def test_a_retried_call_is_one_call() -> None:
    seen = Seen()
    store = ScriptedSessions(DriverError("loading"), DriverError("loading")).with_interceptors(seen)
    await store.get(uuid4())
    assert (store.attempts, len(seen.calls)) == (3, 1)


@pytest.mark.parametrize("failure", [DriverError("x"), OSError("x"), KeyError("x"), ConflictError("x")], ids=repr)
async def test_of_failures_only_the_five_errors_are_seen(failure: Exception) -> None:
    seen = Seen()
    with pytest.raises(StoreError):
        await ScriptedSessions(*[failure] * 9).with_interceptors(seen).delete(uuid4())
    with pytest.raises(ValidationError):
        await ScriptedSessions().with_interceptors(seen).delete("no id")  # type: ignore[arg-type]
    assert all(isinstance(error, StoreError) for error in seen.errors)
    assert [(error.store, error.operation) for error in seen.errors] == [("session", "delete")] * 2  # type: ignore[attr-defined]


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_cancellation_passes_through() -> None:
    seen = Seen()
    store = ScriptedSessions(for_ever).with_interceptors(seen)
    task = asyncio.ensure_future(store.get(uuid4()))
    await store.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [type(error) for error in seen.errors] == [asyncio.CancelledError]


# What it may do.


async def test_interceptors_stand_in_the_order_they_are_given() -> None:
    order: list[str] = []

    def named(name: str) -> Interceptor:
        async def note(call: Call, proceed: Proceed) -> Any:
            order.append(f"{name} in")
            result = await proceed(call)
            order.append(f"{name} out")
            return result

        return note

    await InMemorySessionStore().with_interceptors(named("first"), named("second")).get(uuid4())
    assert order == ["first in", "second in", "second out", "first out"]


async def test_an_interceptor_may_change_the_arguments_which_are_checked_afterwards() -> None:
    async def fewer(call: Call, proceed: Proceed) -> Any:
        limit = call.arguments.get("limit", 0)
        return await proceed(dataclasses.replace(call, arguments={**call.arguments, "limit": limit}))

    store = InMemoryConfigStore().with_interceptors(fewer)
    await store.get_rules(uuid4(), uuid4(), limit=3)
    with pytest.raises(ValidationError, match="limit"):
        await store.get_rules(uuid4(), uuid4())


async def test_an_interceptor_may_answer_itself_or_change_the_answer() -> None:
    session = make_session(uuid4())

    async def cached(call: Call, proceed: Proceed) -> Any:
        return session if call.operation == "get" else not await proceed(call)

    store = ScriptedSessions().with_interceptors(cached)
    assert await store.get(uuid4()) is session
    assert await store.delete(uuid4()) is False
    assert store.attempts == 1


async def test_what_an_interceptor_raises_reaches_the_caller() -> None:
    async def deny(call: Call, proceed: Proceed) -> Any:
        raise PermissionError("not this tenant")

    store = ScriptedSessions().with_interceptors(deny)
    with pytest.raises(PermissionError, match="not this tenant"):
        await store.get(uuid4())
    assert store.attempts == 0


async def test_an_interceptor_that_repeats_a_save_repeats_the_same_write() -> None:
    async def twice(call: Call, proceed: Proceed) -> Any:
        await proceed(call)
        return await proceed(call)

    session = make_session(uuid4())
    store = ScriptedSessions().with_interceptors(twice)
    await store.save(session)
    assert len(store.write_ids) == 2
    assert len(set(store.write_ids)) == 1


async def test_bound_and_hasty_twins_keep_the_interceptors() -> None:
    seen, tenant = Seen(), uuid4()
    store = InMemoryConfigStore().with_interceptors(seen)
    await store.for_tenant(tenant).within(1).get_agents(tenant)
    assert seen.operations == ["get_agents"]


async def test_managed_fields_reach_the_object_that_the_interceptor_was_shown() -> None:
    seen, rule = Seen(), make_rule(uuid4(), uuid4())
    await InMemoryConfigStore().with_interceptors(seen).save_rule(rule)
    assert seen.calls[0].arguments["rule"] is rule
    assert rule.revision == 1
