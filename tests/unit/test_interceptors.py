"""Interceptors: what they see of a call, in which order they stand, and what they may do."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.call.call import Call, Interceptor, Proceed, chain, current_call, running
from convostore.call.deadlines import keep_deadline
from convostore.call.effects import Effect
from convostore.call.logs import log
from convostore.call.retries import retry
from convostore.call.tenants import BindTenant
from convostore.call.translation import Translate, translated
from convostore.call.validation import ArgumentCheck, Validate
from convostore.contracts import ConfigStore, SessionStore
from convostore.errors import ConflictError, ConnectionError, NotFoundError, StoreError, ValidationError
from convostore.inmemory import InMemoryConfigStore, InMemorySessionStore
from convostore.testing.factories import make_agent, make_rule, make_session
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


def a_call(effect: Effect = Effect.READ, *, seconds: float = 5.0, **arguments: Any) -> Call:
    deadline = asyncio.get_running_loop().time() + seconds
    return Call("session", "get", arguments.get("tenant_id"), arguments, uuid4(), deadline, effect, sent=True)


def last(answer: Any = None, *failures: Exception) -> tuple[Proceed, list[Call]]:
    """Return a last step that fails so often and then answers, and the calls that it was given."""
    seen: list[Call] = []
    script = list(failures)

    async def step(call: Call) -> Any:
        seen.append(call)
        if script:
            raise script.pop(0)
        return answer

    return step, seen


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


# A store called inside another's call.


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


# Each interceptor of the store's own.


async def test_validate_hands_on_checked_copies() -> None:
    step, seen = last()
    rule = make_rule(uuid4(), uuid4())
    check = ArgumentCheck(ConfigStore.save_rule)
    await Validate(check)(a_call(Effect.IDEMPOTENT, rule=rule), step)
    assert seen[0].arguments == {"rule": rule, "overwrite": False}
    assert seen[0].arguments["rule"] is not rule


async def test_validate_refuses_before_anything_else_runs() -> None:
    step, seen = last()
    with pytest.raises(ValidationError, match="session_id"):
        await Validate(ArgumentCheck(SessionStore.get))(a_call(session_id=1), step)
    assert seen == []


async def test_validate_gives_managed_fields_back_only_on_success() -> None:
    async def applied(call: Call) -> Any:
        call.arguments["rule"].__dict__["revision"] = 7

    async def failing(call: Call) -> Any:
        await applied(call)
        raise ConflictError("no")

    rule = make_rule(uuid4(), uuid4())
    validate = Validate(ArgumentCheck(ConfigStore.save_rule))
    with pytest.raises(ConflictError):
        await validate(a_call(Effect.IDEMPOTENT, rule=rule), failing)
    assert rule.revision == 0
    await validate(a_call(Effect.IDEMPOTENT, rule=rule), applied)
    assert rule.revision == 7


async def test_bind_tenant_fills_in_what_was_left_out() -> None:
    step, seen = last()
    tenant = uuid4()
    await BindTenant(tenant)(a_call(session_id=uuid4(), tenant_id=None), step)
    assert seen[0].arguments["tenant_id"] == tenant


async def test_bind_tenant_refuses_another_tenant_and_several() -> None:
    step, seen = last()
    mine, theirs = make_rule(uuid4(), uuid4()), make_rule(uuid4(), uuid4())
    for bound, arguments in (
        (mine.tenant_id, {"rule": theirs}),
        (mine.tenant_id, {"rules": [mine, theirs]}),
        (mine.tenant_id, {"tenant_id": theirs.tenant_id}),
        (None, {"rules": [mine, theirs]}),
        (None, {"tenant_id": mine.tenant_id, "scenario": theirs}),
    ):
        with pytest.raises(ValidationError, match="tenant_id"):
            await BindTenant(bound)(a_call(**arguments), step)
    assert seen == []


@pytest.mark.parametrize(("effect", "outcome"), [(Effect.READ, "not_applied"), (Effect.IDEMPOTENT, "unknown")])
async def test_keep_deadline_cancels_what_is_late(effect: Effect, outcome: str) -> None:
    cancelled = asyncio.Event()

    async def never(call: Call) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(ConnectionError, match=r"within\(seconds\)") as caught:
        await keep_deadline(a_call(effect, seconds=0.01), never)
    assert cancelled.is_set()
    assert (caught.value.code, caught.value.outcome, caught.value.retryable) == ("timeout", outcome, True)


async def test_what_was_not_sent_is_not_applied() -> None:
    async def never(call: Call) -> Any:
        await asyncio.Event().wait()

    unsent = dataclasses.replace(a_call(Effect.NON_IDEMPOTENT, seconds=0.01), sent=False)
    with pytest.raises(ConnectionError) as caught:
        await keep_deadline(unsent, never)
    assert caught.value.outcome == "not_applied"
    step, seen = last("done", ConnectionError("refused", outcome="unknown"))
    assert await retry(dataclasses.replace(a_call(Effect.NON_IDEMPOTENT), sent=False), step) == "done"
    assert len(seen) == 2


async def test_retry_repeats_what_is_retryable() -> None:
    step, seen = last("done", ConnectionError("busy"), ConnectionError("busy"))
    assert await retry(a_call(), step) == "done"
    assert len(seen) == 3


async def test_retry_does_not_repeat_what_may_have_been_applied_and_is_not_idempotent() -> None:
    step, seen = last("done", ConnectionError("lost", outcome="unknown"))
    with pytest.raises(ConnectionError):
        await retry(a_call(Effect.NON_IDEMPOTENT), step)
    assert len(seen) == 1


async def test_translate_keeps_the_cause() -> None:
    failure = KeyError("secret")
    step, _ = last(None, failure)
    with pytest.raises(StoreError, match=r"\(KeyError\)") as caught:
        await Translate(translated)(a_call(), step)
    assert caught.value.__cause__ is failure


async def test_translate_leaves_store_errors_as_they_are() -> None:
    failure = NotFoundError("gone")
    step, _ = last(None, failure)
    with pytest.raises(NotFoundError) as caught:
        await Translate(translated)(a_call(), step)
    assert caught.value is failure


async def test_log_names_the_call_in_its_error_and_logs_it_once(caplog: pytest.LogCaptureFixture) -> None:
    step, _ = last(None, ConflictError("no"))
    tenant = uuid4()
    with caplog.at_level("DEBUG", "convostore"), pytest.raises(ConflictError) as caught:
        await chain([log, log], step)(a_call(tenant_id=tenant))
    assert (caught.value.store, caught.value.operation) == ("session", "get")
    (record,) = caplog.records
    assert vars(record)["tenant_id"] == str(tenant)
