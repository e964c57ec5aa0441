"""Interceptors as their authors write them: functions, or objects that keep something."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, assert_type
from uuid import UUID

from convostore import Call, Effect, Interceptor, open_stores

Proceed = Callable[[Call], Awaitable[Any]]


async def without_arguments(call: Call, proceed: Proceed) -> Any:
    return await proceed(replace(call, arguments={}))


class Counting:
    def __init__(self) -> None:
        self.writes = 0

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        self.writes += call.effect is not Effect.READ
        return await proceed(call)


def what_a_call_tells(call: Call) -> None:
    assert_type(call.store, str)
    assert_type(call.operation, str)
    assert_type(call.tenant_id, UUID | None)
    assert_type(call.arguments, Mapping[str, Any])
    assert_type(call.write_id, UUID)
    assert_type(call.deadline, float)
    assert_type(call.effect, Effect)


def both_are_interceptors() -> list[Interceptor]:
    open_stores(interceptors=[without_arguments, Counting()])
    return [without_arguments, Counting()]


def what_is_refused(call: Call, not_async: Callable[[Call, Proceed], str]) -> None:
    open_stores(interceptors=[not_async])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    open_stores(interceptors=without_arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    call.arguments["limit"] = 1  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
