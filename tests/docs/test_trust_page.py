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
    "faults: PostgreSQL, before: reset": {"ConnectionError not_applied": 70, "done": 2},
}


def test_facts_become_lines() -> None:
    text = written(FACTS, date(2026, 1, 2))
    for line in (
        "Run on 2026-01-02 with convostore ",
        "that the published suite failed: 141 of 141.",
        "| config | 90 | 2 | 3 | 1 | 94 | 0 |",
        "- 3 ×: a second comparison",
        "| PostgreSQL, before: reset | 72 | 70 ConnectionError not_applied, 2 done |",
        "found free of them: log 1,001, span 2.",
        "Calls of methods beside a twin, whose bytes stayed: 2.",
    ):
        assert line in text


def test_what_is_written_follows_what_is_kept() -> None:
    head, beginning, _ = PAGE.read_text("utf-8").partition(_BEGINNING)
    assert beginning
    assert "## Non-promises" in head
