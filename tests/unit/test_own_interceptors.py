"""Each interceptor of a store's own by itself: what it hands on, what it refuses, and what it makes of failures."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any
from uuid import uuid4

import pytest

from convostore.call.call import Call, Proceed, chain
from convostore.call.deadlines import keep_deadline
from convostore.call.effects import Effect
from convostore.call.logs import log
from convostore.call.retries import retry
from convostore.call.tenants import BindTenant
from convostore.call.translation import Translate, translated
from convostore.call.validation import ArgumentCheck, Validate
from convostore.contracts import ConfigStore, SessionStore
from convostore.errors import ConflictError, ConnectionError, NotFoundError, StoreError, ValidationError
from convostore.testing.factories import make_rule


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
