"""The linearizability checker itself."""

from __future__ import annotations

import math

import pytest

from tests.sessions.linearizability import Operation, State, linearizable, regular


def save(start: float, end: float, expected: int, content: int = 0) -> Operation:
    return Operation("save", start, end, expected=expected, content=content)


def refused(start: float, end: float, expected: int, current: int) -> Operation:
    return Operation("save", start, end, expected=expected, answer=current, refused=True)


def get(start: float, end: float, answer: State) -> Operation:
    return Operation("get", start, end, answer=answer)


@pytest.mark.parametrize(
    "history",
    [
        [],
        [save(0, 1, 0, 5), get(2, 3, (1, 5))],
        [save(0, 3, 0, 5), get(1, 2, None), get(1, 2, (1, 5))],
        [save(0, 3, 0, 5), save(0, 3, 1, 6), get(1, 2, (1, 5))],
        [save(0, 1, 0), save(2, 5, 1), refused(2, 5, 1, 2), get(6, 7, (2, 0))],
        [save(0, math.inf, 0, 5), get(1, 2, None), get(3, 4, (1, 5))],
        [save(0, math.inf, 0, 5), get(1, 2, None)],
        [save(0, 1, 0), Operation("delete", 2, 3, answer=True), get(4, 5, None), save(6, 7, 0)],
    ],
)
def test_linearizable_histories_are_accepted(history: list[Operation]) -> None:
    assert linearizable(history)


@pytest.mark.parametrize(
    "history",
    [
        [save(0, 1, 0, 5), get(2, 3, None)],
        [save(0, 1, 0, 5), get(2, 3, (1, 6))],
        [save(0, 5, 0, 5), get(1, 2, (1, 5)), get(3, 4, None)],
        [save(0, 1, 0), save(2, 3, 1), get(4, 5, (1, 0))],
        [save(0, 1, 0, 5), *[get(2, 3, (1, 5))] * 50, get(2, 3, (1, 6))],  # 2 ** 50 orders of reads
        [save(0, 1, 0), save(2, 3, 1), save(2, 3, 1)],
        [save(0, 1, 0), refused(2, 3, 1, 1)],
        [get(0, 1, (1, 5)), save(2, 3, 0, 5)],
        [save(0, math.inf, 0, 5), get(1, 2, (1, 5)), get(3, 4, None)],
        [save(0, 1, 0), Operation("delete", 2, 3, answer=True), get(4, 5, (1, 0))],
    ],
)
def test_other_histories_are_rejected(history: list[Operation]) -> None:
    assert not linearizable(history)


def test_reads_of_a_regular_register_may_see_a_write_that_overlaps_them_and_then_the_one_before_it() -> None:
    overtaken = [save(0, 1, 0, 5), save(2, 9, 1, 6), get(3, 4, (2, 6)), get(5, 6, (1, 5))]
    assert not linearizable(overtaken)
    assert regular(overtaken)


@pytest.mark.parametrize(
    "history",
    [
        [save(0, 1, 0, 5), save(2, 3, 1, 6), get(4, 5, (1, 5))],
        [save(0, 1, 0, 5), save(2, 9, 1, 6), get(3, 4, (3, 7))],
        [save(0, 1, 0), save(2, 3, 1), save(2, 3, 1)],
        [get(0, 1, (1, 5)), save(2, 3, 0, 5)],
    ],
)
def test_reads_of_a_regular_register_see_no_write_that_was_replaced_before_them(history: list[Operation]) -> None:
    assert not regular(history)
