"""The progress of what takes long: on standard error, if that is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from convostore.call.call import Call, Proceed


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show what a block waits for."""
    with Progress(TextColumn("{task.description}"), TimeElapsedColumn(), **_here()) as progress:
        progress.add_task(what, total=None)
        yield


@contextmanager
def counting(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show how many of something are done while a block runs; yields what counts them.

    Args:
        what: what is done.
        total: how many there are; None if nobody knows.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, **_here()) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


@contextmanager
def shares() -> Iterator[Callable[[Any, str, float], None]]:
    """Show the share that is done of each of several things; yields what is told of the thing, its step and share."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, **_here()) as progress:
        tasks: dict[Any, Any] = {}

        def watch(thing: Any, step: str, share: float) -> None:
            if thing not in tasks:
                tasks[thing] = progress.add_task("", total=1.0)
            progress.update(tasks[thing], description=step, completed=share)

        yield watch


class Watching:
    """An interceptor that tells how many things each call of a method returns.

    Args:
        operation: the method.
        watch: is told.
        count: how many a result is.
    """

    def __init__(self, operation: str, watch: Callable[[int], None], count: Callable[[Any], int] = len) -> None:
        self._operation, self._watch, self._count = operation, watch, count

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Run a call."""
        result = await proceed(call)
        if call.operation == self._operation:
            self._watch(self._count(result))
        return result


def _here() -> dict[str, Any]:
    console = Console(stderr=True)
    return {"console": console, "transient": True, "disable": not console.is_terminal}
