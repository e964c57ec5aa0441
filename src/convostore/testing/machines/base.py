"""State machines that drive a store of a backend and the reference alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from convostore.errors import StoreError
from convostore.models.base import Model
from convostore.testing.factories import at


class Machine(RuleBasedStateMachine):
    """A machine whose steps, which are plain functions, call the store in an event loop of its own.

    Attributes:
        run: waits for a call of the store.
        moment: the store's clock.
        backend: the store.
        reference: the store in memory.
    """

    run: ClassVar[Callable[..., Any]]
    moment: ClassVar[datetime] = at(0)
    backend: ClassVar[Any]
    reference: Any

    def both(self, call: str, *args: Any, **kwargs: Any) -> Any:
        """Call both stores and compare answers, errors and what the given objects hold afterwards."""
        outcomes = []
        for store in (self.reference, self.backend):
            given = [copied(argument) for argument in args]
            try:
                answer = type(self).run(getattr(store, call)(*given, **kwargs))
            except StoreError as error:
                answer = (type(error), getattr(error, "current_revision", None), error.retryable, error.outcome)
            outcomes.append((answer, given))
        assert outcomes[0] == outcomes[1], call
        return outcomes[0][0]


def copied(argument: Any) -> Any:
    """Return what a store may change without the other one seeing it."""
    if isinstance(argument, list):
        return [copied(item) for item in argument]
    return argument.model_copy(deep=True) if isinstance(argument, Model) else argument


def check(
    machine: type[Machine],
    opened: Callable[[Callable[[], datetime]], AbstractAsyncContextManager[Any]],
    *,
    examples: int = 25,
    steps: int = 30,
) -> None:
    """Drive a backend and the reference with random sequences of a machine's steps; the step that differs fails.

    Hypothesis shortens a sequence that fails to the shortest that still does.

    Args:
        machine: the machine of the store's contract.
        opened: given the store's clock, a context manager that yields a store of the backend. It may hold other data.
        examples: how many sequences.
        steps: how long they are at most.
    """
    with asyncio.Runner() as runner:

        class Running(machine):  # type: ignore[misc, valid-type]
            run = staticmethod(runner.run)

        opening = opened(lambda: Running.moment)
        Running.backend = runner.run(_entered(opening))
        try:
            run_state_machine_as_test(
                Running,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=steps,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(_left(opening))


async def _entered(opening: AbstractAsyncContextManager[Any]) -> Any:
    return await opening.__aenter__()


async def _left(opening: AbstractAsyncContextManager[Any]) -> None:
    await opening.__aexit__(None, None, None)
