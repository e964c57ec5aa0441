"""Answers that are lost: a call runs, and then fails as if nobody had heard of its end."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from convostore.call.call import Call, Interceptor, Proceed
from convostore.call.effects import Effect
from convostore.call.store import Store
from convostore.errors import ConnectionError
from convostore.models.base import Model

S = TypeVar("S", bound=Store)


class LostAnswers:
    """Interceptor that lets calls run, and then reports that their answers were lost.

    A timeout whose call was applied is what a network does, and what an application meets least in its tests.
    Given to `open_stores(interceptors=…)` or `with_interceptors`, the application meets the error. Given to
    `around_attempts`, the store's own retry meets it, and repeats what is idempotent.

    Args:
        operations: the names of the methods whose answers are lost; of all methods if none is named.
        times: how many answers are lost; None loses all.

    Attributes:
        lost: how many answers were lost.
    """

    def __init__(self, *operations: str, times: int | None = None) -> None:
        self._operations: Collection[str] = operations
        self._times = times
        self.lost = 0

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Run the call, then raise.

        Raises:
            ConnectionError: `code` is `"timeout"`; the outcome of a write is `"unknown"`, though it was applied.
        """
        if (self._operations and call.operation not in self._operations) or self.lost == self._times:
            return await proceed(call)
        # Whoever does not hear the answer does not learn what the store wrote into the objects of the call either.
        await proceed(call.with_arguments({name: _copied(value) for name, value in call.arguments.items()}))
        self.lost += 1
        call.sent = True
        raise ConnectionError(
            "The answer was lost.", outcome="not_applied" if call.effect is Effect.READ else "unknown", code="timeout"
        )


def around_attempts(store: S, *interceptors: Interceptor) -> S:
    """Return a store with interceptors around every attempt of every call, inside the retry: the first is outermost.

    A backend recognises its own write by `current_call().write_id`; a lost answer shows whether it does.

    Args:
        store: any store; the returned one shares its data.
        interceptors: such as `LostAnswers(times=1)`. They see checked arguments, and may raise store errors.
    """
    return store._with_interceptors_of_attempts(*interceptors)


def _copied(value: Any) -> Any:
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value.model_copy(deep=True) if isinstance(value, Model) else value
