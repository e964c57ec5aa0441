"""Leases: a value is valid for a time after its read began, unless it was forgotten since."""

from __future__ import annotations

import pytest

from convostore.tiered.leases import Leases


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
