"""Which releases of servers are too old, and what is said of them."""

from __future__ import annotations

import pytest

from convostore import supported
from convostore.errors import ValidationError
from convostore.supported import ADVISED, REQUIRED, Floor


@pytest.mark.parametrize(
    ("name", "version", "oldest"),
    [
        ("PostgreSQL", "15.18", "16.14"),
        ("PostgreSQL", "16.13", "16.14"),
        ("PostgreSQL", "16.14", None),
        ("PostgreSQL", "17.9", "17.10"),
        ("PostgreSQL", "17.10", None),
        ("PostgreSQL", "18.4 (Debian 18.4-1)", None),
        ("PostgreSQL", "19.0", None),
        ("pgvector", "0.7.4", "0.8.4"),
        ("pgvector", "0.8.3", "0.8.4"),
        ("pgvector", "0.8.4", None),
        ("pgvector", "0.9.0", None),
        ("Redis", "6.2.24", "7.0.0"),
        ("Redis", "7.0.15", None),
        ("Valkey", "9.1.2", None),
        ("Dragonfly", "1.0", None),
    ],
)
def test_a_release_is_required(name: str, version: str, oldest: str | None) -> None:
    found = supported.problem(name, version)
    assert (found is not None) is (oldest is not None)
    assert oldest is None or f"{oldest} or newer" in str(found)


@pytest.mark.parametrize(
    ("name", "version", "oldest"),
    [
        ("Redis", "7.0.15", "7.2.16"),
        ("Redis", "8.0.4", "8.2.9"),
        ("Redis", "8.8.2", None),
        ("Redis", "8.12.0", None),
        ("Valkey", "8.1.8", "8.1.9"),
        ("Valkey", "9.1.1-rc1", None),
        ("Valkey", "10.0.0", None),
    ],
)
def test_a_release_is_advised(name: str, version: str, oldest: str | None) -> None:
    found = supported.problem(name, version, ADVISED)
    assert (found is not None) is (oldest is not None)
    assert oldest is None or f"{oldest} or newer, unless your distribution" in str(found)


@pytest.mark.parametrize("floor", [*REQUIRED.values(), *ADVISED.values()])
def test_every_floor_names_ascending_branches_and_a_reason(floor: Floor) -> None:
    assert list(floor.oldest) == sorted(floor.oldest)
    assert len({len(oldest) for oldest in floor.oldest}) == 1
    assert floor.why


def test_a_release_that_is_too_old_is_refused_and_one_that_nobody_knows_is_not() -> None:
    supported.check("pgvector", None)
    with pytest.raises(ValidationError, match=r"PostgreSQL 18.3 is too old \(CVE-2026-6473\)") as refused:
        supported.check("PostgreSQL", "18.3")
    assert not refused.value.retryable
