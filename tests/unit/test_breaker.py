"""The circuit breaker of the hot tier, and a timeout that does not blame a server for a late event loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from convostore.tiered.breaker import Attempt, Breaker
from convostore.tiered.timeouts import Timeout


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(1.0, clock=clock)


def attempt(breaker: Breaker) -> Attempt:
    """Return an attempt that is let through."""
    found = breaker.attempt()
    assert found is not None
    return found


def fail(breaker: Breaker) -> None:
    failing = attempt(breaker)
    failing.failed()
    failing.ended()


def opened(breaker: Breaker) -> Breaker:
    for _ in range(3):
        fail(breaker)
    assert breaker.attempt() is None
    return breaker


def test_three_failures_one_after_the_other_open_it() -> None:
    breaker = Breaker()
    for _ in range(2):
        fail(breaker)
    assert breaker.is_closed
    attempt(breaker).succeeded()
    opened(breaker)
    assert breaker.skipped == 1


def test_failures_side_by_side_count_once(breaker: Breaker) -> None:
    together = [attempt(breaker) for _ in range(10)]
    for each in together:
        each.failed()
    assert breaker.is_closed
    fail(breaker)
    fail(breaker)
    assert not breaker.is_closed


def test_after_a_pause_one_probe_at_a_time_is_let_through(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 1.0
    probe = attempt(breaker)
    clock.now += 10.0
    assert breaker.attempt() is None
    probe.failed()
    probe.ended()
    assert breaker.attempt() is None
    clock.now += 1.0
    # A probe that was cancelled shows nothing; the next is one pause later.
    attempt(breaker).ended()
    assert breaker.attempt() is None
    clock.now += 1.0
    probe = attempt(breaker)
    probe.succeeded()
    assert breaker.is_closed
    probe.ended()
    attempt(breaker)


def test_calls_from_before_it_opened_do_not_end_a_probe(breaker: Breaker, clock: Clock) -> None:
    slow = attempt(breaker)
    opened(breaker)
    clock.now += 1.0
    attempt(breaker)
    slow.failed()
    slow.ended()
    clock.now += 1.0
    assert breaker.attempt() is None


async def test_a_timeout_ends_what_a_server_does_not_answer() -> None:
    started = time.monotonic()

    async def wait() -> None:
        async with Timeout(60.0) as timeout:
            timeout.expect_answer_within(0.05)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait()
    assert 0.04 < time.monotonic() - started < 30


async def test_a_timeout_leaves_what_is_in_time_alone() -> None:
    async with Timeout(60.0) as timeout:
        timeout.expect_answer_within(60.0)
        await asyncio.sleep(0)
    with pytest.raises(ValueError, match="own"):
        async with Timeout(60.0):
            raise ValueError("own")


async def test_until_an_answer_is_expected_the_whole_time_is_left() -> None:
    async with Timeout(60.0):
        await asyncio.sleep(0.02)
    with pytest.raises(TimeoutError):
        async with Timeout(0.02):
            await asyncio.Event().wait()


async def answer_while_late(at_most: float, turns: int) -> None:
    """Wait for something that takes some turns of an event loop, each of which takes longer than the timeout."""
    loop = asyncio.get_running_loop()

    async def block() -> None:
        while True:
            time.sleep(0.02)  # noqa: ASYNC251  (it blocks the loop, as the test wants it to)
            await asyncio.sleep(0)

    blocking = loop.create_task(block())
    try:
        async with Timeout(at_most) as timeout:
            timeout.expect_answer_within(0.01)
            for _ in range(turns):
                await asyncio.sleep(0)
    finally:
        blocking.cancel()


async def test_time_in_which_the_loop_is_late_does_not_count() -> None:
    await answer_while_late(60.0, turns=5)
    with pytest.raises(TimeoutError):
        await answer_while_late(60.0, turns=1_000)


async def test_however_late_the_loop_is_a_timeout_ends() -> None:
    with pytest.raises(TimeoutError):
        await answer_while_late(0.05, turns=6)
