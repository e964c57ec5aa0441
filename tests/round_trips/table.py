"""The table `table.md`: read, compared with what was measured, and written."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from tests.round_trips.metering import Cost, Measured

Costs: TypeAlias = "Mapping[Measured, Cost]"

TABLE = Path(__file__).with_name("table.md")
REWRITE = "pytest tests/round_trips --write-round-trips"

_CALL = ("method", "case")
_COLUMNS = ("PostgreSQL round trips", "statements", "Redis round trips", "commands", "commands in scripts")
_INTRODUCTION = f"""\
# Round trips

What a call of each contract method costs once its connection is open and its statements and scripts are known:

- round trips to each server;
- statements that PostgreSQL runs, BEGIN and COMMIT included;
- commands that are sent to Redis, a script being one, and commands that scripts run there.

Background work that a call starts is included. The empty case is a call on what is stored already; lists and batches
have few items. A column of zeros is left out. `test_table.py` compares the table with what it measures, and
`{REWRITE}` rewrites it. A number that rises needs its reason in the commit message.
"""


def read() -> Mapping[str, Costs]:
    """Return the costs of each section."""
    sections: dict[str, dict[Measured, Cost]] = {}
    for section in TABLE.read_text("utf-8").split("\n## ")[1:]:
        title, *lines = section.splitlines()
        header, _, *rows = (_cells(line) for line in lines if line.startswith("|"))
        sections[title] = {}
        for row in rows:
            values = dict(zip(header, row, strict=True))
            call = Measured(values["method"], values["case"])
            sections[title][call] = Cost(*(int(values.get(column, 0)) for column in _COLUMNS))
    return sections


def write(sections: Mapping[str, Costs]) -> None:
    """Replace the table."""
    parts = (f"\n## {title}\n\n{_table(costs)}" for title, costs in sections.items())
    TABLE.write_text("".join((_INTRODUCTION, *parts)), "utf-8")


def differences(recorded: Costs, measured: Costs) -> list[str]:
    """Return a line for each call that costs something else than recorded, or is only on one side."""
    lines = []
    for call in dict.fromkeys((*recorded, *measured)):
        before, after = recorded.get(call), measured.get(call)
        name = f"{call.method} ({call.case})" if call.case else call.method
        if before is None:
            lines.append(f"{name}: measured, but not in the table")
        elif after is None:
            lines.append(f"{name}: in the table, but not measured")
        elif before != after:
            numbers = zip(_COLUMNS, before, after, strict=True)
            changes = [f"{column} {old} → {new}" for column, old, new in numbers if old != new]
            lines.append(f"{name}: {', '.join(changes)}")
    return lines


def _table(costs: Costs) -> str:
    methods = list(dict.fromkeys(call.method for call in costs))
    calls = sorted(costs, key=lambda call: methods.index(call.method))
    used = [number for number in range(len(_COLUMNS)) if any(cost[number] for cost in costs.values())]
    header = (*_CALL, *(_COLUMNS[number] for number in used))
    rows = [(*call, *(str(costs[call][number]) for number in used)) for call in calls]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = [f"{'-' * (width - 1)}{'-' if number < len(_CALL) else ':'}" for number, width in enumerate(widths)]
    return "".join(_line(row, widths) for row in chain((header, tuple(rule)), rows))


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    aligned = (
        cell.ljust(width) if number < len(_CALL) else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return f"| {' | '.join(aligned)} |\n"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
