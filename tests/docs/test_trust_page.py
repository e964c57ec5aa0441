"""The page on trust is written from what the proofs counted."""

from __future__ import annotations

from datetime import date

from scripts.trust import _BEGINNING, PAGE, written

FACTS = {
    "leaking_backends": {"planted": 141, "failed": 141, "passed": []},
    "statements": {"statements": 300, "functions": 20, "references": 900, "exceptions": {"one": ["session"]}},
    "statement_mutants": {"planted": 1_600, "noticed": 1_600},
    "methods of config called beside a twin": ["a", "b"],
    "mutants of config, unprotected": {
        "killed": 90,
        "endless": ["y", "z"],
        "harmless": {"a second comparison": 3},
        "not reached": ["x"],
    },
    "mutants of config, protected": {"contained": 94, "leaking": []},
    "secrets: calls, in memory": {"log": 1_000, "span": 2},
    "secrets: calls, on Redis": {"log": 1},
    "faults: PostgreSQL 18: read-only: config": {"read: answered": 2, "non_idempotent: not_applied 25006": 70},
    "faults: PostgreSQL 18: read-only: memory": {
        "idempotent: unknown 08003": 4,
        "idempotent: unknown timeout, applied": 1,
    },
    "cancelled: config": {"calls": 2, "cancelled": 9},
    "cancelled: memory": {"calls": 1, "cancelled": 4},
}


def test_facts_become_lines() -> None:
    text = written(FACTS, date(2026, 1, 2))
    for line in (
        "Run on 2026-01-02 with convostore ",
        "that the published suite failed: 141 of 141.",
        "| config | 90 | 2 | 3 | 1 | 94 | 0 |",
        "- 3 ×: a second comparison",
        "| PostgreSQL 18 | read-only | 77 | 2 | 70 | 5 | 1 | 08003, 25006, timeout |",
        "| non-idempotent | 70 | 0 | 70 | 0 | 0 | 25006 |",
        "3 calls were cancelled at each of their awaits, 13 times in all.",
        "found free of them: log 1,001, span 2.",
        "Calls of methods beside a twin, whose bytes stayed: 2.",
    ):
        assert line in text


def test_what_is_written_follows_what_is_kept() -> None:
    head, beginning, _ = PAGE.read_text("utf-8").partition(_BEGINNING)
    assert beginning
    assert "## Non-promises" in head
