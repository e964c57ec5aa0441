"""Single-flight runs one execution per key and queues one, with the deadline of those that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import uuid4

from convostore.call.call import Call, current_call, running
from convostore.call.effects import Effect
from convostore.errors import ConnectionError
from convostore.tiered.single_flight import SingleFlight


class Work:
    """Executions that end when a test says so, and return their number."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.deadlines: list[float] = []
        self.ends = [asyncio.Event() for _ in range(10)]

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        self.deadlines.append(current_call().deadline)
        try:
            await self.ends[number - 1].wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return number


def called(work: Coroutine[Any, Any, int], deadline: float = 1e9) -> asyncio.Task[int]:
    """Start work as a call with a deadline."""

    async def run() -> int:
        running.set(Call("session", "get", None, {}, uuid4(), deadline, Effect.READ))
        return await work

    return asyncio.create_task(run())


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_callers_that_arrive_during_an_execution_share_the_next_one() -> None:
    shared, work = SingleFlight[str, int](patience=60.0), Work()
    first = [called(shared.run("key", work)) for _ in range(3)]
    await turns()
    later = []
    for _ in range(5):
        later.append(called(shared.run("key", work)))
        await turns()
    assert work.begun == 1
    work.ends[0].set()
    await turns()
    last = called(shared.run("key", work))
    await turns()
    assert work.begun == 2
    work.ends[1].set()
    work.ends[2].set()
    assert await asyncio.gather(*first, *later, last) == [1] * 3 + [2] * 5 + [3]


async def test_every_caller_has_a_result_of_its_own_and_the_last_needs_no_copy() -> None:
    copies: list[list[int]] = []

    def copied(result: list[int]) -> list[int]:
        copies.append(result.copy())
        return copies[-1]

    async def work() -> list[int]:
        return [1]

    async def change() -> int:
        found = await shared.run("key", work)
        assert found == [1]
        found.append(2)
        return len(found)

    shared = SingleFlight[str, list[int]](copied=copied)
    assert await called(change()) == 2
    assert copies == []
    callers = [called(change()) for _ in range(4)]
    await asyncio.sleep(0)
    callers[1].cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results.pop(1), asyncio.CancelledError)
    assert results == [2, 2, 2]
    assert copies == [[1, 2], [1, 2]]


async def test_keys_are_independent() -> None:
    shared, work = SingleFlight[str, int](), Work()
    waiting = called(shared.run("one", work))
    await turns()
    work.ends[1].set()
    assert await called(shared.run("other", work)) == 2
    work.ends[0].set()
    assert await waiting == 1


async def test_an_execution_that_hangs_delays_the_next_only_for_a_time() -> None:
    shared, work = SingleFlight[str, int](patience=0.001), Work()
    hanging = called(shared.run("key", work))
    await turns()
    work.ends[1].set()
    assert await called(shared.run("key", work)) == 2
    hanging.cancel()
    await turns()
    work.ends[2].set()
    assert await called(shared.run("key", work)) == 3


async def test_a_cancelled_caller_does_not_cancel_the_execution_of_others() -> None:
    shared, work = SingleFlight[str, int](), Work()
    calls = [called(shared.run("key", work)) for _ in range(2)]
    await turns()
    calls[0].cancel()
    await turns()
    work.ends[0].set()
    assert await calls[1] == 1
    assert calls[0].cancelled()


async def test_the_last_caller_that_leaves_cancels_the_execution() -> None:
    shared, work = SingleFlight[str, int](patience=60.0), Work()
    calls = [called(shared.run("key", work)) for _ in range(2)]
    await turns()
    for call in calls:
        assert work.cancelled == 0
        call.cancel()
        await turns()
    assert work.cancelled == 1
    # Whoever comes now neither joins it nor waits for it.
    work.ends[1].set()
    assert await called(shared.run("key", work)) == 2


async def test_a_queued_execution_that_nobody_waits_for_never_begins() -> None:
    shared, work = SingleFlight[str, int](patience=60.0), Work()
    first = called(shared.run("key", work))
    await turns()
    queued = called(shared.run("key", work))
    await turns()
    queued.cancel()
    await turns()
    later = called(shared.run("key", work))
    await turns()
    work.ends[0].set()
    work.ends[1].set()
    assert [await first, await later] == [1, 2]
    assert work.begun == 2


async def test_an_execution_has_the_latest_deadline_of_those_that_wait_when_it_starts() -> None:
    shared, work = SingleFlight[str, int](patience=60.0), Work()
    first = called(shared.run("key", work), 10.0)
    await turns()
    later = [called(shared.run("key", work), deadline) for deadline in (20.0, 40.0, 30.0)]
    await turns()
    later[1].cancel()
    await turns()
    work.ends[0].set()
    work.ends[1].set()
    assert [await first, await later[0], await later[2]] == [1, 2, 2]
    assert work.deadlines == [10.0, 30.0]


async def test_each_caller_gets_an_error_of_its_own() -> None:
    async def fail() -> int:
        raise ConnectionError("lost", outcome="unknown", code="08006")

    shared = SingleFlight[str, int]()
    errors = await asyncio.gather(*(called(shared.run("key", fail)) for _ in range(3)), return_exceptions=True)
    assert len({id(error) for error in errors}) == 3
    for error in errors:
        assert isinstance(error, ConnectionError)
        assert (str(error), error.outcome, error.code) == ("lost", "unknown", "08006")
