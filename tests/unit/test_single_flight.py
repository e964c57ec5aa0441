"""Single-flight runs one execution per key and queues one; a lease ends a time after its read began."""

from __future__ import annotations

import asyncio

import pytest

from convostore.errors import ConnectionError
from convostore.tiered.leases import Leases
from convostore.tiered.single_flight import SingleFlight


class Work:
    """Executions that end when a test says so, and return their number."""

    def __init__(self) -> None:
        self.begun = 0
        self.ends = [asyncio.Event() for _ in range(10)]

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        await self.ends[number - 1].wait()
        return number


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_callers_that_arrive_during_an_execution_share_the_next_one() -> None:
    shared, work = SingleFlight[str, int](60.0, patience=60.0), Work()
    first = [asyncio.create_task(shared.run("key", work)) for _ in range(3)]
    await turns()
    later = []
    for _ in range(5):
        later.append(asyncio.create_task(shared.run("key", work)))
        await turns()
    assert work.begun == 1
    work.ends[0].set()
    await turns()
    last = asyncio.create_task(shared.run("key", work))
    await turns()
    assert work.begun == 2
    work.ends[1].set()
    work.ends[2].set()
    assert await asyncio.gather(*first, *later, last) == [1] * 3 + [2] * 5 + [3]


async def test_keys_are_independent() -> None:
    shared, work = SingleFlight[str, int](60.0), Work()
    waiting = asyncio.create_task(shared.run("one", work))
    await turns()
    work.ends[1].set()
    assert await shared.run("other", work) == 2
    work.ends[0].set()
    assert await waiting == 1


async def test_an_execution_that_hangs_delays_the_next_only_for_a_time() -> None:
    shared, work = SingleFlight[str, int](60.0, patience=0.001), Work()
    hanging = asyncio.create_task(shared.run("key", work))
    await turns()
    work.ends[1].set()
    assert await shared.run("key", work) == 2
    hanging.cancel()
    work.ends[0].set()
    await turns()
    work.ends[2].set()
    assert await shared.run("key", work) == 3


async def test_a_cancelled_caller_does_not_cancel_the_execution() -> None:
    shared, work = SingleFlight[str, int](60.0), Work()
    calls = [asyncio.create_task(shared.run("key", work)) for _ in range(2)]
    await turns()
    calls[0].cancel()
    work.ends[0].set()
    assert await calls[1] == 1
    assert calls[0].cancelled()


async def test_each_caller_gets_an_error_of_its_own() -> None:
    async def fail() -> int:
        raise ConnectionError("lost", outcome="unknown", code="08006")

    shared = SingleFlight[str, int](60.0)
    errors = await asyncio.gather(*(shared.run("key", fail) for _ in range(3)), return_exceptions=True)
    assert len({id(error) for error in errors}) == 3
    for error in errors:
        assert isinstance(error, ConnectionError)
        assert (str(error), error.outcome, error.code) == ("lost", "unknown", "08006")


def test_a_value_is_valid_for_a_lease_after_its_read_began() -> None:
    now = [10.0]
    leases = Leases[str](2.0, lambda: now[0])
    leases.note("key", 1, 9.0)
    now[0] = 11.0
    assert leases.get("key") == 1
    now[0] = 11.001
    assert leases.get("key") is None


def test_the_value_of_an_earlier_read_is_ignored() -> None:
    leases = Leases[str](2.0, lambda: 10.0)
    leases.note("key", 2, 9.5)
    leases.note("key", 1, 9.0)
    assert leases.get("key") == 2


@pytest.mark.parametrize("asked_at", [9.0, 10.0])
def test_a_forgotten_value_is_restored_only_by_a_later_read(asked_at: float) -> None:
    now = [10.0]
    leases = Leases[str](2.0, lambda: now[0])
    leases.note("key", 1, 10.0)
    leases.forget("key")
    leases.note("key", 1, asked_at)
    assert leases.get("key") is None
    now[0] = 10.5
    leases.note("key", 2, 10.5)
    assert leases.get("key") == 2


def test_expired_values_are_removed() -> None:
    now = [0.0]
    leases = Leases[int](2.0, lambda: now[0])
    for number in range(100):
        now[0] = float(number)
        leases.note(number, number, now[0])
    assert len(leases._noted) == 3


def test_a_lease_of_zero_keeps_no_value() -> None:
    now = [0.0]
    leases = Leases[str](0.0, lambda: now[0])
    now[0] = 1.0
    leases.note("key", 1, 0.5)
    assert leases.get("key") is None
