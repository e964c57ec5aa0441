"""Writes that travel together: who leaves with whom, in which order, and that each caller keeps its own fate."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.call.call import Call, current_call, running
from convostore.call.effects import Effect
from convostore.errors import ConflictError, ConnectionError, StoreError
from convostore.postgres import gathering
from convostore.postgres.gathered_statements import pipelined
from convostore.postgres.gathering import GatheredWrites, Present
from convostore.postgres.tenancy import BIND_TENANT

ONE = f"UPDATE t SET x = $2 WHERE {BIND_TENANT} RETURNING x"
REFUSED = ConflictError("refused", code="23505")


@dataclass(eq=False)
class Statement:
    """A statement that was sent, its parameter lists, and the deadline of the call that it ran in."""

    each: list[Any]
    together: bool
    deadline: float
    answer: asyncio.Future[Any]

    @property
    def values(self) -> list[Any]:
        return [given[1] for given in self.each]

    def succeed(self) -> None:
        """Write all but what begins with "no"."""
        rows = [{"n": given[-1], "x": given[1]} for given in self.each if not given[1].startswith("no")]
        self.answer.set_result(rows)


class Server:
    """A database that answers when a test tells it to."""

    def __init__(self) -> None:
        self.sent: list[Statement] = []
        self.unreachable: StoreError | None = None
        self.busy: asyncio.Event | None = None

    async def fetch(self, statement: str, *parameters: Any) -> list[Any]:
        raise AssertionError

    fetchrow = fetch

    async def fetchrow_in_time(self, statement: str, *parameters: Any) -> Any:
        assert statement == ONE
        return next(iter(await self._sent([parameters], [current_call()], together=False)), None)

    async def fetch_in_time(self, statement: str, present: Present) -> list[Any]:
        assert statement == pipelined(ONE)
        if self.busy:
            await self.busy.wait()
        each = present()
        return await self._sent([given for _, given in each], [call for call, _ in each], together=True)

    async def _sent(self, each: Sequence[Any], calls: Sequence[Call], *, together: bool) -> list[Any]:
        if self.unreachable:
            raise self.unreachable
        for call in (current_call(), *calls):
            call.sent = True
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.sent.append(Statement([*each], together, current_call().deadline, answer))
        rows: list[Any] = await answer
        return rows


@dataclass(eq=False)
class Writing:
    """A write on its way."""

    call: Call
    task: asyncio.Task[Any]

    async def value(self) -> Any:
        row = await self.task
        return row and row["x"]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def writes(server: Server, monkeypatch: pytest.MonkeyPatch) -> GatheredWrites:
    """Writes that are gathered from the second on."""
    monkeypatch.setattr(GatheredWrites, "few", 1)
    return GatheredWrites(server, ONE)


def writing(writes: GatheredWrites, value: str, key: int | None = None, *, deadline: float = 100.0) -> Writing:
    call = Call("config", "save_rule", None, {}, uuid4(), deadline, Effect.IDEMPOTENT)
    token = running.set(call)
    number = UUID(int=ord(value[-1]) if key is None else key)
    task = asyncio.ensure_future(writes.call((number, value), (number,)))
    running.reset(token)
    return Writing(call, task)


async def steps() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def gathered(server: Server, writes: GatheredWrites, *values: str) -> list[Writing]:
    """Send a write, and while it is under way others, which then leave together."""
    first = writing(writes, "first")
    await steps()
    others = [writing(writes, value, deadline=100.0 + place) for place, value in enumerate(values)]
    await steps()
    server.sent[-1].succeed()
    await first.task
    await steps()
    return others


def test_a_pipelined_statement_waits_shortly_for_locks_and_returns_its_number() -> None:
    text = pipelined(ONE)
    assert text.startswith(
        "UPDATE t SET x = $2 WHERE (SELECT convostore.bind(v.t) AS bound FROM (SELECT $1::uuid AS t "
    )
    assert " WHERE set_config('lock_timeout', " in text
    assert text.endswith(" OFFSET 0) AS v) RETURNING x, $3::int AS n")
    assert pipelined(f"SELECT f($2) WHERE {BIND_TENANT}").startswith(
        "SELECT one.*, $3::int AS n FROM (SELECT f($2) WHERE"
    )


async def test_a_lone_write_is_sent_at_once_by_the_single_statement(server: Server, writes: GatheredWrites) -> None:
    for value in ("a", "no"):
        one = writing(writes, value)
        await steps()
        assert (server.sent[-1].together, server.sent[-1].values) == (False, [value])
        server.sent[-1].succeed()
        assert await one.value() == (None if value == "no" else value)
    assert len(server.sent) == 2


async def test_writes_that_arrive_during_another_leave_together_in_the_order_of_their_keys(
    server: Server, writes: GatheredWrites
) -> None:
    others = await gathered(server, writes, "c", "no b", "d", "a", "2c")
    (batch,) = server.sent[1:]
    assert batch.values == ["a", "no b", "c", "2c", "d"]
    assert batch.deadline == 104.0
    batch.succeed()
    assert [await each.value() for each in others] == ["c", None, "d", "a", "2c"]


async def test_a_write_counts_as_sent_when_its_batch_is(server: Server, writes: GatheredWrites) -> None:
    first = writing(writes, "first")
    await steps()
    others = [writing(writes, value) for value in "ab"]
    await steps()
    assert [each.call.sent for each in others] == [False, False]
    server.sent[0].succeed()
    await steps()
    assert [each.call.sent for each in others] == [True, True]
    server.sent[1].succeed()
    await asyncio.gather(first.task, *(each.task for each in others))


async def test_a_few_writes_at_a_time_are_each_sent_at_once(server: Server) -> None:
    writes = GatheredWrites(server, ONE)
    each = [writing(writes, value) for value in "abcdef"]
    await steps()
    assert [statement.values for statement in server.sent] == [["a"], ["b"], ["c"], ["d"]]
    for statement in server.sent:
        statement.succeed()
    await steps()
    assert [statement.values for statement in server.sent[4:]] == [["e", "f"]]
    again = writing(writes, "g")
    await steps()
    assert (server.sent[-1].together, server.sent[-1].values) == (False, ["g"])
    for statement in server.sent[4:]:
        statement.succeed()
    assert [await one.value() for one in (*each, again)] == [*"abcdefg"]


async def test_one_that_was_gathered_alone_goes_alone(server: Server, writes: GatheredWrites) -> None:
    (second,) = await gathered(server, writes, "a")
    assert [statement.together for statement in server.sent] == [False, False]
    server.sent[1].succeed()
    assert await second.value() == "a"


async def test_a_refused_batch_is_repeated_call_by_call(server: Server, writes: GatheredWrites) -> None:
    others = await gathered(server, writes, "a", "b", "c")
    server.sent[1].answer.set_exception(REFUSED)
    await steps()
    assert [(statement.together, statement.values) for statement in server.sent[2:]] == [
        (False, ["a"]),
        (False, ["b"]),
        (False, ["c"]),
    ]
    server.sent[2].succeed()
    own = ConflictError("its own")
    server.sent[3].answer.set_exception(own)
    assert await others[0].value() == "a"
    with pytest.raises(ConflictError) as conflict:
        await others[1].task
    assert conflict.value is own
    assert not others[2].task.done()
    server.sent[4].succeed()
    assert await others[2].value() == "c"


async def test_what_a_refused_batch_has_sent_is_not_applied(server: Server, writes: GatheredWrites) -> None:
    others = await gathered(server, writes, "a", "b")
    server.unreachable = ConnectionError("down")
    server.sent[1].answer.set_exception(REFUSED)
    await asyncio.gather(*(each.task for each in others), return_exceptions=True)
    assert [each.call.sent for each in others] == [False, False]


async def test_while_one_waits_for_a_lock_alone_others_of_its_key_join_no_batch(
    server: Server, writes: GatheredWrites
) -> None:
    locked, free = await gathered(server, writes, "a", "b")
    server.sent[1].answer.set_exception(ConnectionError("Another call held a lock for too long.", code="55P03"))
    await steps()
    server.sent[3].succeed()
    assert await free.value() == "b"
    first = writing(writes, "c")
    await steps()
    same, others = writing(writes, "2a"), [writing(writes, value) for value in "de"]
    await steps()
    assert server.sent[-1].values == ["2a"]
    server.sent[4].succeed()
    await steps()
    assert server.sent[-1].values == ["d", "e"]
    server.sent[-1].succeed()
    assert [await each.value() for each in (first, *others)] == ["c", "d", "e"]
    assert not locked.task.done()
    server.sent[2].succeed()
    server.sent[5].succeed()
    assert [await locked.value(), await same.value()] == ["a", "2a"]
    assert not writes._refused


async def test_a_lost_connection_is_an_error_of_each_callers_own(server: Server, writes: GatheredWrites) -> None:
    others = await gathered(server, writes, "a", "b")
    lost, cause = ConnectionError("lost", code="08006", outcome="unknown"), OSError("reset")
    lost.__cause__ = cause
    server.sent[1].answer.set_exception(lost)
    one, other = await asyncio.gather(*(each.task for each in others), return_exceptions=True)
    assert isinstance(one, ConnectionError)
    assert isinstance(other, ConnectionError)
    assert one is not other
    assert [(each.code, each.outcome, each.__cause__) for each in (one, other)] == [("08006", "unknown", cause)] * 2
    assert len(server.sent) == 2


async def test_a_batch_that_was_not_sent_fails_for_all_and_nothing_of_it_was_sent(
    server: Server, writes: GatheredWrites
) -> None:
    first = writing(writes, "first")
    await steps()
    others = [writing(writes, value) for value in "ab"]
    await steps()
    server.unreachable = ConnectionError("down")
    server.sent[0].succeed()
    await first.task
    errors = await asyncio.gather(*(each.task for each in others), return_exceptions=True)
    assert [(type(error), str(error)) for error in errors] == [(ConnectionError, "down")] * 2
    assert [each.call.sent for each in others] == [False, False]


async def test_who_leaves_before_the_batch_is_not_written_and_who_leaves_later_harms_no_other(
    server: Server, writes: GatheredWrites
) -> None:
    first = writing(writes, "first")
    await steps()
    gone, stays, late = (writing(writes, value) for value in "abc")
    await steps()
    gone.task.cancel()
    server.sent[0].succeed()
    await first.task
    await steps()
    assert server.sent[1].values == ["b", "c"]
    late.task.cancel()
    await steps()
    assert not server.sent[1].answer.cancelled()
    server.sent[1].succeed()
    assert await stays.value() == "b"


async def test_who_leaves_while_a_batch_waits_for_a_connection_is_not_written(
    server: Server, writes: GatheredWrites
) -> None:
    server.busy = asyncio.Event()
    gone, *stay = await gathered(server, writes, "a", "b", "c")
    gone.task.cancel()
    await steps()
    server.busy.set()
    await steps()
    assert server.sent[1].values == ["b", "c"]
    assert [each.call.sent for each in (gone, *stay)] == [False, True, True]
    server.sent[1].succeed()
    assert [await each.value() for each in stay] == ["b", "c"]


async def test_a_batch_that_nobody_waits_for_is_aborted_and_the_next_one_leaves(
    server: Server, writes: GatheredWrites
) -> None:
    others = await gathered(server, writes, "a", "b")
    more = [writing(writes, value) for value in "cd"]
    await steps()
    for each in others:
        each.task.cancel()
    await steps()
    assert server.sent[1].answer.cancelled()
    assert server.sent[2].values == ["c", "d"]
    server.sent[2].succeed()
    assert [await each.value() for each in more] == ["c", "d"]


async def test_a_batch_is_bounded_in_number_and_bytes(
    server: Server, writes: GatheredWrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "_MOST", 3)
    monkeypatch.setattr(gathering, "_MOST_BYTES", 10)
    values = ["a", "b", "c", "d", "long e", "long f", "g", "longer than h", "i"]
    each = [writing(writes, value) for value in values]
    await steps()
    assert [statement.values for statement in server.sent] == [
        ["a"],
        ["longer than h"],
        ["b", "c", "d"],
        ["long e", "long f"],
    ]
    for statement in server.sent:
        statement.succeed()
    await steps()
    assert server.sent[-1].values == ["g", "i"]
    server.sent[-1].succeed()
    assert [await one.value() for one in each] == values


async def test_a_write_that_takes_long_holds_up_no_other(
    server: Server, writes: GatheredWrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "PATIENCE", 0)
    slow = writing(writes, "slow")
    await steps()
    for value in "ab":
        one = writing(writes, value)
        await steps()
        assert (server.sent[-1].together, server.sent[-1].values) == (False, [value])
        server.sent[-1].succeed()
        assert await one.value() == value
    assert not slow.task.done()
    server.sent[0].succeed()
    assert await slow.value() == "slow"
