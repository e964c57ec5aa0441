"""Gathered calls: concurrent calls by one statement, of any tenants, travel together.

A call that finds none under way is sent at once. Calls that arrive meanwhile are gathered by their statement, and leave
together in one round trip.

Reads become one statement that runs the single one for each parameter list, and so binds each row's tenant in turn:

    SELECT one.*, k.n FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS k (p1, p2, n)
    CROSS JOIN LATERAL (<the statement, with k.p1 for $1 and k.p2 for $2> OFFSET 0) AS one

OFFSET 0 keeps the planner from merging the two, so that the binding and the policy are conditions of each inner scan.

Writes are pipelined: the statement is executed for each parameter list, with a binding and a snapshot of its own, in
one implicit transaction. So all are applied or none, and none is merged with another.
"""

from __future__ import annotations

import asyncio
import copy
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, TypeAlias
from uuid import UUID

from convostore.call.call import Call, current_call, running
from convostore.errors import StoreError
from convostore.postgres.tenancy import TENANT

_MOST = 128
"""How many parameter lists a batch carries at most."""

_MOST_BYTES = 128 << 10
"""With how many bytes a batch of writes leaves, roughly."""

_SIZES = {str: 1, bytes: 1, list: 8}
"""Of the types of parameters whose length varies, the bytes of an element."""

_PATIENCE = 0.05
"""Seconds after which a statement under way holds up no other, and for which a batch of writes waits for locks."""

_CAST = re.compile(r"\$(\d+)::(\w+(?: with time zone)?)")
_PARAMETER = re.compile(r"\$(\d+)")

_HURRIED = (
    "set_config('lock_timeout', "
    f"greatest(1, {_PATIENCE} * 1000 - (extract(epoch FROM clock_timestamp() - now()) * 1000)::int)::text, true) "
    "IS NOT NULL"
)
"""A condition that leaves to the transaction what is left of its patience, before it takes a lock."""

Parameters: TypeAlias = "tuple[Any, ...]"
Key: TypeAlias = "tuple[UUID, ...]"


class Running(Protocol):
    """Runs statements."""

    async def fetch(self, statement: str, *parameters: Any) -> list[Any]:
        """Run a statement and return its rows."""

    async def fetchrow(self, statement: str, *parameters: Any) -> Any:
        """Run a statement and return its first row, or None."""

    async def fetchrow_in_time(self, statement: str, *parameters: Any) -> Any:
        """The same, with a deadline among the parameters."""

    async def fetch_in_time(self, statement: str, each: list[list[Any]], calls: Sequence[Call]) -> list[Any]:
        """Run a statement for each of several calls, in one transaction; return the rows of all."""


def gathered(statement: str) -> str:
    """Return a statement that reads one row as one that does so for each element of arrays of its parameters.

    The statement casts each of its parameters at least once.
    """
    types = dict(sorted(_CAST.findall(statement)))
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in types.items())
    names = ", ".join(f"p{number}" for number in types)
    one = _PARAMETER.sub(r"k.p\1", statement)
    return (
        f"SELECT one.*, k.n FROM unnest({arrays}) WITH ORDINALITY AS k ({names}, n) "
        f"CROSS JOIN LATERAL ({one} OFFSET 0) AS one"
    )


def pipelined(statement: str) -> str:
    """Return a statement that writes one row as one among others, which does not wait long for locks.

    Its last parameter is a number, which stands in the row that it returns as `n`.
    """
    number = f"${1 + max(map(int, _PARAMETER.findall(statement)))}::int AS n"
    hurried = statement.replace(TENANT, TENANT.replace(" OFFSET", f" WHERE {_HURRIED} OFFSET"))
    if statement.startswith("SELECT"):
        return f"SELECT one.*, {number} FROM ({hurried}) AS one"
    return f"{hurried}, {number}"  # after RETURNING


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
    """Calls by one statement.

    Args:
        database: runs the statements.
        statement: returns one row at most.
    """

    def __init__(self, database: Running, statement: str) -> None:
        self._database = database
        self._one = statement
        self._batch: _Batch | None = None
        self._latest: object | None = None
        self._patient_until = 0.0

    async def _call(self, same: Hashable, key: Key, parameters: Parameters, size: int = 0) -> Any:
        """Return the row of a call, or None; calls that are the `same` have one answer."""
        loop, batch = asyncio.get_running_loop(), self._batch
        if batch is None and (self._latest is None or loop.time() >= self._patient_until):
            statement = self._began()
            try:
                return await self._alone(key, *parameters)
            finally:
                self._ended(statement)
        if batch is None:
            batch = self._batch = _Batch()
            loop.call_later(_PATIENCE, self._leave, batch)
        caller = _Caller(key, parameters, current_call(), loop.create_future())
        batch.callers.setdefault(same, []).append(caller)
        batch.size += size
        if len(batch.callers) >= _MOST or batch.size >= _MOST_BYTES:
            self._leave(batch)
        sent = caller.call.sent
        try:
            return await caller.answer
        except _Refused:
            caller.call.sent = sent
            return await self._again(key, *parameters)
        finally:
            if caller.answer.cancelled() and batch.task is not None and not batch.waiting:
                batch.task.cancel()

    @abstractmethod
    async def _alone(self, key: Key, *parameters: Any) -> Any:
        """Run the statement for one call."""

    async def _again(self, key: Key, *parameters: Any) -> Any:
        """Run the statement for one call of a batch that was refused."""
        return await self._alone(key, *parameters)

    @abstractmethod
    async def _together(self, each: list[_Caller], calls: list[Call]) -> list[Any]:
        """Return the row of each parameter list, None where there is none, on behalf of these calls."""

    def _began(self) -> object:
        self._latest, self._patient_until = object(), asyncio.get_running_loop().time() + _PATIENCE
        return self._latest

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
                statement = self._began()
                batch.task = asyncio.get_running_loop().create_task(self._run(waiting, statement), context=Context())

    async def _run(self, waiting: list[list[_Caller]], statement: object) -> None:
        calls = [each.call for callers in waiting for each in callers]
        # The latest deadline: each caller keeps its own.
        together = replace(calls[0], deadline=max(call.deadline for call in calls), sent=False)
        running.set(together)
        try:
            rows = await self._together([callers[0] for callers in waiting], calls)
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
    """Reads by one statement. As `_Gathered`; the statement casts each of its parameters."""

    def __init__(self, database: Running, statement: str) -> None:
        super().__init__(database, statement)
        self._many = gathered(statement)

    async def read(self, *parameters: Any) -> Any:
        """Return the row that the statement reads with these parameters, or None."""
        return await self._call(parameters, (), parameters)

    async def _alone(self, key: Key, *parameters: Any) -> Any:
        return await self._database.fetchrow(self._one, *parameters)

    async def _together(self, each: list[_Caller], calls: list[Call]) -> list[Any]:
        if len(each) == 1:
            return [await self._alone(each[0].key, *each[0].parameters)]
        lists = map(list, zip(*(caller.parameters for caller in each), strict=True))
        return _by_number(await self._database.fetch(self._many, *lists), len(each))


class GatheredWrites(_Gathered):
    """Writes by one statement. As `_Gathered`; the statement ends with what it returns, or selects from a function."""

    def __init__(self, database: Running, statement: str) -> None:
        super().__init__(database, statement)
        self._many = pipelined(statement)
        self._refused: Counter[Key] = Counter()

    async def write(self, key: Key, *parameters: Any) -> Any:
        """Return the row that the statement returns with these parameters, or None.

        Args:
            key: the ids of what it locks, its tenant's first. A batch takes its locks in the order of the keys.
            parameters: of the statement.
        """
        size = sum([_SIZES[type(each)] * len(each) for each in parameters if type(each) in _SIZES])
        if (self._refused and key in self._refused) or size >= _MOST_BYTES:
            return await self._alone(key, *parameters)
        return await self._call(object(), key, parameters, size)

    async def _alone(self, key: Key, *parameters: Any) -> Any:
        return await self._database.fetchrow_in_time(self._one, *parameters)

    async def _again(self, key: Key, *parameters: Any) -> Any:
        """As ever; meanwhile other writes of the key join no batch, which would wait for the same lock."""
        self._refused[key] += 1
        try:
            return await self._alone(key, *parameters)
        finally:
            self._refused -= Counter((key,))

    async def _together(self, each: list[_Caller], calls: list[Call]) -> list[Any]:
        if len(each) == 1:
            raise _Refused
        # Integers compare faster than UUIDs.
        order = sorted(range(len(each)), key=lambda number: [part.int for part in each[number].key])
        given = [[*each[number].parameters, number] for number in order]
        return _by_number(await self._database.fetch_in_time(self._many, given, calls), len(each), first=0)


def _by_number(rows: Iterable[Any], count: int, *, first: int = 1) -> list[Any]:
    """Return rows by their column `n`, None where there is none."""
    found: list[Any] = [None] * count
    for row in rows:
        found[row["n"] - first] = row
    return found


def _unanswered(waiting: Iterable[Iterable[_Caller]]) -> list[asyncio.Future[Any]]:
    return [each.answer for callers in waiting for each in callers if not each.answer.done()]
