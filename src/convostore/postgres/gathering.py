"""Gathered reads: concurrent reads by one statement, of any tenants, become one statement.

A read that finds none under way is sent at once. Reads that arrive meanwhile are gathered by their parameters, and
leave together as one statement that runs the single one for each of them, and so binds each row's tenant in turn:

    SELECT one.*, k.n FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS k (p1, p2, n)
    CROSS JOIN LATERAL (<the statement, with k.p1 for $1 and k.p2 for $2> OFFSET 0) AS one

OFFSET 0 keeps the planner from merging the two, so that the binding and the policy are conditions of each inner scan.
"""

from __future__ import annotations

import asyncio
import copy
import re
from contextvars import Context
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

from convostore.call.call import Call, current_call, running
from convostore.errors import ConnectionError

_MOST = 128
"""How many parameter lists a statement carries at most."""

_PATIENCE = 0.05
"""Seconds after which a statement under way holds up no other."""

_CAST = re.compile(r"\$(\d+)::(\w+(?: with time zone)?)")

Parameters: TypeAlias = "tuple[Any, ...]"


class Reading(Protocol):
    """Runs statements."""

    async def fetch(self, statement: str, *parameters: Any) -> list[Any]:
        """Run a statement and return its rows."""

    async def fetchrow(self, statement: str, *parameters: Any) -> Any:
        """Run a statement and return its first row, or None."""


def gathered(statement: str) -> str:
    """Return a statement that reads one row as one that does so for each element of arrays of its parameters.

    The statement casts each of its parameters at least once.
    """
    types = dict(sorted(_CAST.findall(statement)))
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in types.items())
    names = ", ".join(f"p{number}" for number in types)
    one = re.sub(r"\$(\d+)", r"k.p\1", statement)
    return (
        f"SELECT one.*, k.n FROM unnest({arrays}) WITH ORDINALITY AS k ({names}, n) "
        f"CROSS JOIN LATERAL ({one} OFFSET 0) AS one"
    )


class _Refused(Exception):
    """The gathered statement was refused: each caller runs its own."""


@dataclass(eq=False)
class _Batch:
    """What leaves together: who waits for what, and the deadlines of all."""

    waiting: dict[Parameters, list[asyncio.Future[Any]]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody waits any more."""
        return all(answer.done() for answers in self.waiting.values() for answer in answers)


class GatheredReads:
    """Reads of at most one row each by one statement.

    Args:
        database: runs the statements.
        statement: reads one row.
    """

    def __init__(self, database: Reading, statement: str) -> None:
        self._database = database
        self._one = statement
        self._many = gathered(statement)
        self._batch: _Batch | None = None
        self._under_way = 0

    async def read(self, *parameters: Any) -> Any:
        """Return the row that the statement reads with these parameters, or None."""
        if not self._under_way and self._batch is None:
            self._under_way += 1
            try:
                return await self._database.fetchrow(self._one, *parameters)
            finally:
                self._ended()
        loop, batch = asyncio.get_running_loop(), self._batch
        if batch is None:
            batch = self._batch = _Batch()
            loop.call_later(_PATIENCE, self._leave, batch)
        answer: asyncio.Future[Any] = loop.create_future()
        batch.waiting.setdefault(parameters, []).append(answer)
        batch.calls.append(current_call())
        if len(batch.waiting) >= _MOST:
            self._leave(batch)
        try:
            return await answer
        except _Refused:
            return await self._database.fetchrow(self._one, *parameters)
        finally:
            if answer.cancelled() and batch.task is not None and batch.is_abandoned:
                batch.task.cancel()

    def _ended(self) -> None:
        """Let what was gathered leave, after the callers that are given their answers now: their next reads join it."""
        self._under_way -= 1
        if self._batch is not None:
            asyncio.get_running_loop().call_soon(self._leave, self._batch)

    def _leave(self, batch: _Batch) -> None:
        if batch is self._batch:
            self._batch = None
            if not batch.is_abandoned:
                batch.task = asyncio.get_running_loop().create_task(self._run(batch), context=Context())

    async def _run(self, batch: _Batch) -> None:
        # The latest deadline: each caller keeps its own.
        running.set(replace(batch.calls[0], deadline=max(call.deadline for call in batch.calls)))
        self._under_way += 1
        try:
            rows = await self._rows(list(batch.waiting))
        except Exception as error:  # noqa: BLE001  (each caller raises what its own statement does)
            refusal = error if isinstance(error, ConnectionError) else _Refused()
            for answer in _unanswered(batch):
                failure = copy.copy(refusal)
                failure.__cause__ = refusal.__cause__
                answer.set_exception(failure)
        else:
            for row, answers in zip(rows, batch.waiting.values(), strict=True):
                for answer in answers:
                    if not answer.done():
                        answer.set_result(row)
        finally:
            self._ended()

    async def _rows(self, each: list[Parameters]) -> list[Any]:
        """Return the row of each parameter list, None where there is none."""
        if len(each) == 1:
            return [await self._database.fetchrow(self._one, *each[0])]
        found: list[Any] = [None] * len(each)
        for row in await self._database.fetch(self._many, *map(list, zip(*each, strict=True))):
            found[row["n"] - 1] = row
        return found


def _unanswered(batch: _Batch) -> list[asyncio.Future[Any]]:
    return [answer for answers in batch.waiting.values() for answer in answers if not answer.done()]
