"""Reads that travel together: who leaves with whom, and that nobody suffers from another's fate."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from convostore.call.call import Call, current_call, running
from convostore.call.effects import Effect
from convostore.errors import ConnectionError, StoreError
from convostore.postgres import gathering
from convostore.postgres.gathered_statements import gathered
from convostore.postgres.gathering import GatheredReads

ONE = "SELECT $1::text || $2::text"


@dataclass(eq=False)
class Statement:
    """A statement that was sent, its parameters, and the deadline of the call that it ran in."""

    text: str
    parameters: tuple[Any, ...]
    deadline: float
    answer: asyncio.Future[Any]

    @property
    def keys(self) -> list[tuple[Any, ...]]:
        return [self.parameters] if self.text == ONE else list(zip(*self.parameters, strict=True))

    def succeed(self) -> None:
        """Answer each key by itself, joined; there is none of what begins with "no"."""
        rows = [{"n": n, "row": "".join(key)} for n, key in enumerate(self.keys, 1) if "no" not in key]
        self.answer.set_result(rows)


class Server:
    """A database that answers when a test tells it to."""

    def __init__(self) -> None:
        self.sent: list[Statement] = []

    async def fetch(self, statement: str, *parameters: Any) -> list[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        current_call().sent = True
        self.sent.append(Statement(statement, parameters, current_call().deadline, answer))
        found: list[Any] = await answer
        return found

    async def fetchrow(self, statement: str, *parameters: Any) -> Any:
        return next(iter(await self.fetch(statement, *parameters)), None)


@contextmanager
def within(deadline: float) -> Iterator[None]:
    token = running.set(Call("config", "get_rule", None, {}, uuid4(), deadline, Effect.READ))
    yield
    running.reset(token)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def reads(server: Server, monkeypatch: pytest.MonkeyPatch) -> GatheredReads:
    """Reads that are gathered from the second on."""
    monkeypatch.setattr(GatheredReads, "few", 1)
    return GatheredReads(server, ONE)


def reading(reads: GatheredReads, *key: str, deadline: float = 100.0) -> asyncio.Task[Any]:
    with within(deadline):
        return asyncio.create_task(reads.call(key))


async def steps() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def value(task: asyncio.Task[Any]) -> Any:
    row = await task
    return row and row["row"]


def test_the_gathered_statement_runs_the_single_one_for_each() -> None:
    assert gathered("SELECT x FROM t WHERE b = $2::text AND a = $1::uuid AND $1 > $2 LIMIT 1") == (
        "SELECT one.*, k.n FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS k (p1, p2, n) "
        "CROSS JOIN LATERAL (SELECT x FROM t WHERE b = k.p2::text AND a = k.p1::uuid AND k.p1 > k.p2 LIMIT 1 OFFSET 0) "
        "AS one"
    )


async def test_a_lone_read_is_sent_at_once_by_the_single_statement(server: Server, reads: GatheredReads) -> None:
    for key in (("a", "1"), ("no", "1")):
        task = reading(reads, *key)
        await steps()
        assert (server.sent[-1].text, server.sent[-1].parameters) == (ONE, key)
        server.sent[-1].succeed()
        assert await value(task) == (None if "no" in key else "a1")
    assert len(server.sent) == 2


async def test_reads_that_arrive_during_another_leave_together_each_key_once(
    server: Server, reads: GatheredReads
) -> None:
    first = reading(reads, "a", "1")
    await steps()
    keys = [("b", "1"), ("c", "2"), ("no", "3"), ("b", "1"), ("a", "1")]
    others = [reading(reads, *key, deadline=100.0 + number) for number, key in enumerate(keys)]
    await steps()
    assert len(server.sent) == 1
    server.sent[0].succeed()
    assert await value(first) == "a1"
    await steps()
    assert server.sent[1].keys == [("b", "1"), ("c", "2"), ("no", "3"), ("a", "1")]
    assert server.sent[1].deadline == 104.0
    server.sent[1].succeed()
    assert [await value(task) for task in others] == ["b1", "c2", None, "b1", "a1"]


async def test_a_caller_that_leaves_harms_no_other(server: Server, reads: GatheredReads) -> None:
    first = reading(reads, "a", "1")
    await steps()
    gone, stays, late = (reading(reads, name, "1") for name in "bcd")
    await steps()
    gone.cancel()
    server.sent[0].succeed()
    await first
    await steps()
    late.cancel()
    await steps()
    assert not server.sent[1].answer.cancelled()
    server.sent[1].succeed()
    assert await value(stays) == "c1"


async def test_a_statement_that_nobody_waits_for_is_cancelled_and_the_next_one_leaves(
    server: Server, reads: GatheredReads
) -> None:
    first = reading(reads, "a", "1")
    await steps()
    second, third = reading(reads, "b", "1"), reading(reads, "c", "1")
    await steps()
    server.sent[0].succeed()
    await first
    await steps()
    fourth = reading(reads, "d", "1")
    await steps()
    second.cancel()
    third.cancel()
    await steps()
    assert server.sent[1].answer.cancelled()
    assert server.sent[2].keys == [("d", "1")]
    server.sent[2].succeed()
    assert await value(fourth) == "d1"


async def test_a_failed_read_alone_lets_what_was_gathered_leave(server: Server, reads: GatheredReads) -> None:
    first, second = reading(reads, "a", "1"), reading(reads, "b", "1")
    await steps()
    first.cancel()
    await steps()
    server.sent[1].succeed()
    assert await value(second) == "b1"


async def test_a_lost_connection_is_an_error_of_each_callers_own(server: Server, reads: GatheredReads) -> None:
    first = reading(reads, "a", "1")
    await steps()
    others = [reading(reads, name, "1") for name in "bc"]
    await steps()
    server.sent[0].succeed()
    await first
    await steps()
    lost, cause = ConnectionError("lost", code="08006", outcome="unknown"), OSError("reset")
    lost.__cause__ = cause
    server.sent[1].answer.set_exception(lost)
    one, other = await asyncio.gather(*others, return_exceptions=True)
    assert isinstance(one, ConnectionError)
    assert isinstance(other, ConnectionError)
    assert one is not other
    assert (one.code, one.__cause__, other.code, other.__cause__) == ("08006", cause, "08006", cause)


async def test_a_refused_statement_is_repeated_call_by_call(server: Server, reads: GatheredReads) -> None:
    first = reading(reads, "a", "1")
    await steps()
    others = [reading(reads, name, "1") for name in "bc"]
    await steps()
    server.sent[0].succeed()
    await first
    await steps()
    server.sent[1].answer.set_exception(StoreError("refused"))
    await steps()
    assert [statement.parameters for statement in server.sent[2:]] == [("b", "1"), ("c", "1")]
    server.sent[2].succeed()
    server.sent[3].answer.set_exception(StoreError("of its own"))
    assert await value(others[0]) == "b1"
    with pytest.raises(StoreError, match="of its own"):
        await others[1]


async def test_a_statement_carries_a_bounded_number_of_keys(
    server: Server, reads: GatheredReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "_MOST", 3)
    tasks = [reading(reads, "a", str(number)) for number in range(8)]
    await steps()
    assert [len(statement.keys) for statement in server.sent] == [1, 3, 3]
    server.sent[0].succeed()
    await steps()
    assert [len(statement.keys) for statement in server.sent] == [1, 3, 3, 1]
    for statement in server.sent[1:]:
        statement.succeed()
    assert [await value(task) for task in tasks] == [f"a{number}" for number in range(8)]


async def test_a_statement_that_takes_long_holds_up_no_other(
    server: Server, reads: GatheredReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "PATIENCE", 0)
    first, second = reading(reads, "a", "1"), reading(reads, "b", "1")
    async with asyncio.timeout(20):
        while len(server.sent) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
    server.sent[1].succeed()
    assert await value(second) == "b1"
    assert not first.done()
    server.sent[0].succeed()
    assert await value(first) == "a1"
