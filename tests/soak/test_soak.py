"""A soak of seconds: what was acknowledged is there, and no more; its judge notices each way in which it is not."""

from __future__ import annotations

from collections import Counter
from uuid import uuid4

import pytest

from bench.soak.__main__ import conversations, run
from bench.soak.journal import Attempt, Journals, Plan
from bench.soak.leading import Leader
from bench.soak.reading import Found, Verdict, judged
from convostore import open_stores


@pytest.mark.slow
async def test_what_several_processes_were_told_among_faults_is_what_a_fresh_one_finds() -> None:
    verdict = await run(number=12, tenants=3, processes=3, seconds=2, pause=0.02)
    assert verdict["violations"] == []
    assert verdict["processes killed"] == 1
    assert verdict["connections of PostgreSQL that were cut"] > 0
    assert min(verdict["found"][kind] for kind in ("session", "turn", "event", "episode", "field")) > 0
    assert verdict["attempts"]["acknowledged"] > 0
    assert verdict["records"]["records"] == verdict["found"]["turn"] + verdict["found"]["event"]


def of_unit(outcome: str | None) -> Attempt:
    return Attempt("t", 0, "unit", {"turn": ["1"], "event": ["2"]}, outcome)


ALL: Found = {"turn": {"1": "t"}, "event": {"2": "t"}}
PART: Found = {"turn": {"1": "t"}, "event": {}}
NONE: Found = {"turn": {}, "event": {}}
OTHERS: Found = {"turn": {"1": "u"}, "event": {"2": "u"}}


@pytest.mark.parametrize(
    ("outcome", "found", "problem"),
    [
        ("acknowledged", ALL, None),
        ("acknowledged", NONE, "is lost"),
        ("acknowledged", OTHERS, "is lost"),
        ("not_applied", NONE, None),
        ("not_applied", ALL, "is there"),
        ("unknown", ALL, None),
        ("unknown", NONE, None),
        (None, ALL, None),
        *((outcome, PART, "in part") for outcome in ("acknowledged", "not_applied", "unknown", None)),
    ],
)
def test_a_write_is_judged_by_what_its_process_was_told(outcome: str | None, found: Found, problem: str | None) -> None:
    verdict = Verdict()
    verdict.judge(of_unit(outcome), found)
    assert len(verdict.violations) == (problem is not None)
    assert all(str(problem) in each for each in verdict.violations)
    assert verdict.attempts == Counter({outcome or "unfinished": 1})


class Noted:
    """A journal in memory."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.violations: list[str] = []

    def began(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)

    def ended(self, attempt: Attempt) -> None:
        pass

    def violated(self, what: str) -> None:
        self.violations.append(what)


async def test_what_is_missing_is_found_by_reader_and_leader() -> None:
    async with open_stores(backend="memory") as stores:
        (conversation,) = led = await conversations(stores, 1, 1)
        plan, journal = Plan("", "", led, 1, 0.0, 0.0), Noted()
        leader = Leader(stores, conversation, journal, "p")  # type: ignore[arg-type]
        for _ in range(5):
            await leader._turn()
        journals = Journals(journal.attempts, journal.violations, {})
        assert (await judged(stores, plan, journals)).violations == []
        lost = Attempt("p.lost", 0, "event", {"event": [str(uuid4())]}, "acknowledged")
        unknown = journals.attempts.pop()
        shown = await judged(stores, plan, Journals([*journals.attempts, lost], [], {}))
        kind = unknown.way if unknown.way != "unit" else "session"
        assert "p.lost: event was acknowledged and is lost" in shown.violations
        assert f"{kind} of {unknown.token}: nobody wrote it" in shown.violations
        session = await stores.sessions.get(conversation.session_id)
        assert session is not None
        session.variables.clear()
        await stores.sessions.save(session)
        await leader._turn()
        assert "misses" in journal.violations[0]
