"""Gathered calls: concurrent calls by one statement, of any tenants, travel together.

A call that finds none under way is sent at once. Calls that arrive meanwhile are gathered by their statement, and leave
together in one round trip: reads as one statement, writes pipelined in one transaction (see `gathered_statements`).
"""

from __future__ import annotations

import asyncio
import copy
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable, Iterable
from contextvars import Context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias
from uuid import UUID

from convostore.call.call import Call, current_call, running
from convostore.errors import StoreError
from convostore.postgres.gathered_statements import PATIENCE, gathered, pipelined

_MOST = 128
"""How many parameter lists a batch carries at most."""

_MOST_BYTES = 128 << 10
"""With how many bytes a batch of writes leaves, roughly."""

_SIZES: dict[type[Any], int] = {str: 1, bytes: 1, list: 8}
"""Of the types of parameters whose length varies, the bytes of an element."""

Parameters: TypeAlias = "tuple[Any, ...]"
Key: TypeAlias = "tuple[UUID | int, ...]"
Sending: TypeAlias = "Coroutine[Any, Any, Any]"


Present: TypeAlias = "Callable[[], list[tuple[Call, list[Any]]]]"
"""Returns the calls that still wait, with the parameters of each: one that has left was told that nothing was sent."""


class Reading(Protocol):
    """Runs statements that read."""

    async def fetch(self, statement: str, *parameters: Any) -> list[Any]:
        """Run a statement and return its rows."""

    async def fetchrow(self, statement: str, *parameters: Any) -> Any:
        """Run a statement and return its first row, or None."""


class Writing(Protocol):
    """Runs statements that write, with deadlines among their parameters."""

    async def fetchrow_in_time(self, statement: str, *parameters: Any) -> Any:
        """Run a statement and return its first row, or None."""

    async def fetch_in_time(self, statement: str, present: Present) -> list[Any]:
        """Run a statement for each of several calls, in one transaction; return the rows of all."""


class _Refused(Exception):
    """The batch was refused: each caller runs its own statement."""


class _Caller(NamedTuple):
    key: Key
    parameters: Parameters
    call: Call
    answer: asyncio.Future[Any]


@dataclass(eq=False)
class _Batch:
    """What leaves together: the callers of each parameter list."""

    callers: dict[Hashable, list[_Caller]] = field(default_factory=dict)
    size: int = 0
    task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> list[list[_Caller]]:
        """The callers that still wait, by parameter list."""
        present = ([each for each in callers if not each.answer.done()] for callers in self.callers.values())
        return [callers for callers in present if callers]


class _Gathered(ABC):
    """Calls by one statement that returns one row at most.

    What several calls have in common costs as much as two statements, is executed by one backend, and waits for the one
    before; so few calls at a time are cheaper and sooner done each by itself.

    Args:
        alone: runs it for one call.
    """

    few = 4
    """Of up to so many calls at a time, each is sent at once."""

    def __init__(self, alone: Callable[..., Sending]) -> None:
        self._alone = alone
        self._open = 0
        self._batch: _Batch | None = None
        self._latest: object | None = None
        self._patient_until = 0.0

    async def call(self, parameters: Parameters, key: Key = ()) -> Any:
        """Return the row that the statement returns with these parameters, or None.

        Args:
            parameters: of the statement.
            key: the ids, and the version, of what a write locks, its tenant's first. A batch takes its locks in the
                order of the keys.
        """
        now = asyncio.get_running_loop().time()
        self._open += 1
        try:
            is_free = self._latest is None or self._open <= self.few or now >= self._patient_until
            if self._batch is not None or not is_free:
                return await self._gathered(parameters, key)
            statement = self._latest = object()
            self._patient_until = now + PATIENCE
            try:
                return await self._alone(*parameters)
            finally:
                self._ended(statement)
        finally:
            self._open -= 1

    async def _gathered(self, parameters: Parameters, key: Key) -> Any:
        """Wait for the batch that a call leaves with."""
        loop, batch = asyncio.get_running_loop(), self._batch
        if (size := self._size_of(parameters)) >= _MOST_BYTES:
            return await self._alone(*parameters)
        if batch is None:
            batch = self._batch = _Batch()
            loop.call_later(PATIENCE, self._leave, batch)
        caller = _Caller(key, parameters, current_call(), loop.create_future())
        batch.callers.setdefault(self._shared(parameters), []).append(caller)
        batch.size += size
        if len(batch.callers) >= _MOST or batch.size >= _MOST_BYTES:
            self._leave(batch)
        sent = caller.call.sent
        try:
            return await caller.answer
        except _Refused:
            caller.call.sent = sent
            return await self._again(key, parameters)
        finally:
            if caller.answer.cancelled() and batch.task is not None and not batch.waiting:
                batch.task.cancel()

    @abstractmethod
    def _shared(self, parameters: Parameters) -> Hashable:
        """Return what calls have in common that have one answer."""

    def _size_of(self, parameters: Parameters) -> int:
        """Return what parameters add to the size of a batch that is bounded in bytes."""
        return 0

    async def _again(self, key: Key, parameters: Parameters) -> Any:
        """Run the statement for one call of a batch that was refused."""
        return await self._alone(*parameters)

    @abstractmethod
    async def _together(self, each: list[_Caller]) -> list[Any]:
        """Return the row of each parameter list, None where there is none."""

    def _ended(self, statement: object) -> None:
        """Let what was gathered leave, after the callers that are given their answers now: their next calls join it."""
        if statement is self._latest:
            self._latest = None
        if self._batch is not None:
            asyncio.get_running_loop().call_soon(self._leave, self._batch)

    def _leave(self, batch: _Batch) -> None:
        if batch is self._batch:
            self._batch = None
            if waiting := batch.waiting:
                loop, statement = asyncio.get_running_loop(), object()
                self._latest, self._patient_until = statement, loop.time() + PATIENCE
                batch.task = loop.create_task(self._run(waiting, statement), context=Context())

    async def _run(self, waiting: list[list[_Caller]], statement: object) -> None:
        calls = [each.call for callers in waiting for each in callers]
        # The latest deadline: each caller keeps its own.
        together = replace(calls[0], deadline=max(call.deadline for call in calls), sent=False)
        running.set(together)
        try:
            rows = await self._together([callers[0] for callers in waiting])
        except Exception as error:  # noqa: BLE001  (each caller raises what its own statement does)
            applied_nothing = isinstance(error, StoreError) and error.outcome == "not_applied"
            refusal = _Refused() if applied_nothing and together.sent else error
            for answer in _unanswered(waiting):
                failure = copy.copy(refusal)
                failure.__cause__ = refusal.__cause__
                answer.set_exception(failure)
        else:
            for row, callers in zip(rows, waiting, strict=True):
                for answer in _unanswered([callers]):
                    answer.set_result(row)
        finally:
            self._ended(statement)


class GatheredReads(_Gathered):
    """Reads by one statement of one row at most.

    Args:
        database: runs the statements.
        statement: casts each of its parameters.
    """

    def __init__(self, database: Reading, statement: str) -> None:
        super().__init__(partial(database.fetchrow, statement))
        self._database, self._many = database, gathered(statement)

    def _shared(self, parameters: Parameters) -> Hashable:
        return parameters

    async def _together(self, each: list[_Caller]) -> list[Any]:
        if len(each) == 1:
            return [await self._alone(*each[0].parameters)]
        lists = map(list, zip(*(caller.parameters for caller in each), strict=True))
        return _by_number(await self._database.fetch(self._many, *lists), len(each))


class GatheredWrites(_Gathered):
    """Writes by one statement of one row at most.

    Args:
        database: runs the statements.
        statement: ends with what it returns, or selects from a function.
    """

    def __init__(self, database: Writing, statement: str) -> None:
        super().__init__(partial(database.fetchrow_in_time, statement))
        self._database, self._many = database, pipelined(statement)
        self._refused: Counter[Key] = Counter()

    def call(self, parameters: Parameters, key: Key = ()) -> Sending:
        if self._refused and key in self._refused:
            return self._alone(*parameters)
        return super().call(parameters, key)

    def _shared(self, parameters: Parameters) -> Hashable:
        return object()

    def _size_of(self, parameters: Parameters) -> int:
        return sum([_SIZES[type(each)] * len(each) for each in parameters if type(each) in _SIZES])

    async def _again(self, key: Key, parameters: Parameters) -> Any:
        """As ever; meanwhile other writes of the key join no batch, which would wait for the same lock."""
        self._refused[key] += 1
        try:
            return await self._alone(*parameters)
        finally:
            self._refused -= Counter((key,))

    async def _together(self, each: list[_Caller]) -> list[Any]:
        if len(each) == 1:
            raise _Refused
        # Integers compare faster than UUIDs.
        ordered = sorted(enumerate(each, 1), key=lambda numbered: [int(part) for part in numbered[1].key])

        def present() -> list[tuple[Call, list[Any]]]:
            return [
                (caller.call, [*caller.parameters, number]) for number, caller in ordered if not caller.answer.done()
            ]

        return _by_number(await self._database.fetch_in_time(self._many, present), len(each))


def _by_number(rows: Iterable[Any], count: int) -> list[Any]:
    """Return rows by their column `n`, from 1, None where there is none."""
    found: list[Any] = [None] * count
    for row in rows:
        found[row["n"] - 1] = row
    return found


def _unanswered(waiting: Iterable[Iterable[_Caller]]) -> list[asyncio.Future[Any]]:
    return [each.answer for callers in waiting for each in callers if not each.answer.done()]
