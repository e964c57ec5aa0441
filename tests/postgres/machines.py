"""State machines that drive a store on PostgreSQL and the reference alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from convostore.embedded import Embedded
from convostore.models.base import Model
from convostore.postgres import create_pool
from convostore.postgres.store import PostgresStore
from convostore.testing.factories import at


class Machine(RuleBasedStateMachine):
    """A machine whose steps, which are plain functions, call the store in an event loop of its own.

    Attributes:
        run: waits for a call of the store.
        moment: the store's clock.
        backend: the store.
    """

    run: ClassVar[Callable[..., Any]]
    moment: ClassVar[datetime] = at(0)
    backend: ClassVar[Any]


def copied(argument: Any) -> Any:
    """Return what a store may change without the other one seeing it."""
    if isinstance(argument, list):
        return [copied(item) for item in argument]
    return argument.model_copy(deep=True) if isinstance(argument, Model) else argument


def check(kind: type[Machine], store: type[PostgresStore], server: Embedded, *, examples: int) -> None:
    """Run so many sequences of a machine's steps on a server; what differs fails in the step that shows it."""

    async def opened() -> Any:
        return await create_pool(server.postgres_dsn, max_size=1)

    with asyncio.Runner() as runner:
        pool = runner.run(opened())

        class Running(kind):  # type: ignore[misc, valid-type]
            run = staticmethod(runner.run)
            backend = store(pool, timeout=30, clock=lambda: Running.moment)

        quick = settings(
            max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        )
        run_state_machine_as_test(Running, settings=quick)
        runner.run(pool.close())
