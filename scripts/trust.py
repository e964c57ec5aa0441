"""Write docs/explanation/trust.md from what the proofs counted: `make trust` runs them and then this.

Usage: trust.py FACTS, the JSON file of `pytest --trust-facts`.
"""

from __future__ import annotations

import json
import platform
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "trust.md"
_BEGINNING = "<!-- Written by `make trust`: do not edit below. -->\n"


def mutants(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rows of the table of mutants."""
    for name in sorted(facts):
        found = facts[name]
        if name.startswith("mutants of ") and name.endswith(", unprotected") and "harmless" in found:
            kind = name.removeprefix("mutants of ").removesuffix(", unprotected")
            protected = facts.get(f"mutants of {kind}, protected", {})
            yield (
                f"| {kind} | {found['killed']} | {len(found['endless'])} | {sum(found['harmless'].values())} "
                f"| {len(found['not reached'])} "
                f"| {protected.get('contained', 0)} | {len(protected.get('leaking', []))} |"
            )


def reasons(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield why mutants that changed nothing are harmless."""
    total = Counter[str]()
    for name, found in facts.items():
        if name.startswith("mutants of ") and "harmless" in found:
            total.update(found["harmless"])
    yield from (f"- {count} ×: {reason}" for reason, count in sorted(total.items()))


def searched(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield how many texts of each kind were searched for canaries."""
    total = Counter[str]()
    for name, found in facts.items():
        if name.startswith("secrets: "):
            total.update(found)
    yield from (f"{what} {count:,}" for what, count in sorted(total.items()))


def faults(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rows of the table of faults."""
    total: dict[str, Counter[str]] = {}
    for name, counts in facts.items():
        if name.startswith("faults: "):
            server, fault, _ = name.removeprefix("faults: ").split(": ")
            total.setdefault(f"{server} | {fault}", Counter()).update(counts)
    yield from (_ended(name, total[name]) for name in sorted(total))


def methods_under_faults(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rows of the table of what repeating a method does, over all faults."""
    total: dict[str, Counter[str]] = {}
    for name, counts in facts.items():
        if name.startswith("faults: "):
            for end, count in counts.items():
                total.setdefault(end.partition(": ")[0].replace("_", "-"), Counter())[end] += count
    yield from (_ended(name, total[name]) for name in sorted(total))


def _ended(name: str, counts: Mapping[str, int]) -> str:
    """Return a row: cases, those that answered, were not applied, unknown, of these applied, and the codes."""
    columns, codes = Counter[str](), set[str]()
    for end, count in counts.items():
        outcome, _, code = end.partition(": ")[2].partition(" ")
        columns[outcome] += count
        columns["applied"] += count * code.endswith(", applied")
        codes |= {code.removesuffix(", applied")} - {""}
    told = " | ".join(str(columns[each]) for each in ("answered", "not_applied", "unknown", "applied"))
    return f"| {name} | {sum(counts.values())} | {told} | {', '.join(sorted(codes))} |"


def cancelled(facts: Mapping[str, Any]) -> str:
    """Return how many calls were cancelled, and how often."""
    total = Counter[str]()
    for name, counts in facts.items():
        if name.startswith("cancelled: "):
            total.update(counts)
    return f"{total['calls']} calls were cancelled at each of their awaits, {total['cancelled']} times in all."


def written(facts: Mapping[str, Any], day: date) -> str:
    """Return the part of the page that is written."""
    leaks, statements, planted = facts["leaking_backends"], facts["statements"], facts["statement_mutants"]
    called = {name: found for name, found in facts.items() if name.startswith("methods of ")}
    methods = sum(len(found) if isinstance(found, list) else int(found) for found in called.values())
    lines = [
        f"Run on {day.isoformat()} with convostore {version('convostore')}, Python {platform.python_version()}, "
        f"asyncpg {version('asyncpg')} and redis-py {version('redis')}, on the servers of the extra `embedded`.",
        "",
        "### Isolation",
        "",
        f"- Backends with a planted leak that the published suite failed: {leaks['failed']} of {leaks['planted']}.",
        f"- {statements['statements']} statements and {statements['functions']} functions refer to tables "
        f"{statements['references']} times, each with a condition but for {len(statements['exceptions'])} exceptions. "
        f"Of {planted['planted']} with a condition left out, {planted['noticed']} were noticed.",
        f"- Calls of methods beside a twin, whose bytes stayed: {methods}.",
        "",
        "Each tenant condition made always true, in the running process:",
        "",
        "| store | killed | endless | harmless | not reached "
        "| contained by row-level security | leaking in spite of it |",
        "|---|---|---|---|---|---|---|",
        *mutants(facts),
        "",
        "Mutants that changed nothing, and why that is right:",
        "",
        *reasons(facts),
        "",
        "### Faults",
        "",
        "Every method under every fault: class, `retryable`, `outcome`, deadline, state, pool, tasks, next call.",
        cancelled(facts),
        "",
        "| method | cases | answered | not applied | unknown | of these applied | codes |",
        "|---|---|---|---|---|---|---|",
        *methods_under_faults(facts),
        "",
        "| server | fault | cases | answered | not applied | unknown | of these applied | codes |",
        "|---|---|---|---|---|---|---|---|",
        *faults(facts),
        "",
        "### Secrets",
        "",
        "Searched for canaries in content and credentials, and found free of them: " + ", ".join(searched(facts)) + ".",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    facts = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    kept = PAGE.read_text("utf-8").partition(_BEGINNING)[0]
    PAGE.write_text(f"{kept}{_BEGINNING}\n{written(facts, date.today())}", "utf-8")  # noqa: DTZ011
    print(f"{PAGE}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
