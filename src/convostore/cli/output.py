"""What a command prints: tables for people, or one JSON object for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypeAlias
from uuid import UUID

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table


class Masked(Enum):
    """Stands for content that is not shown: dots in a table, and no key in JSON."""

    MASKED = "•••"


MASKED = Masked.MASKED


class Bytes(int):
    """A number of bytes; tables show it in KiB, MiB or more."""

    def __str__(self) -> str:
        size, units = float(self), iter(("B", "KiB", "MiB", "GiB", "TiB", "PiB"))
        unit = next(units)
        while size >= 1024:
            size, unit = size / 1024, next(units)
        return f"{size:.{0 if unit == 'B' else 1}f} {unit}"


Row: TypeAlias = Mapping[str, Any]
Sections: TypeAlias = Mapping[str, Any]
"""By name: a row, several rows, or the cursor of the next page."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What content could command a terminal by."""

_UNCUT = 10_000
"""Columns of a console that is no terminal, where nothing is to be wrapped."""


def report(said: str, *, as_json: bool, err: bool = False, **facts: Any) -> None:
    """Print what is said to people, or the facts behind it; on request on standard error."""
    typer.echo(_json(facts) if as_json else said, err=err)


def show(sections: Sections, *, as_json: bool) -> None:
    """Print sections by their names: a row is shown field by field, several are a table."""
    if as_json:
        typer.echo(_json(sections))
        return
    console = terminal()
    for number, (name, section) in enumerate(sections.items()):
        for part in ("", *_shown(name, section, console))[number == 0 :]:
            console.print(part, soft_wrap=isinstance(part, str))


def table(*headings: str, numeric: Collection[str] = ()) -> Table:
    """Return an empty table with these headings; columns of numbers are aligned to the right."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for heading in headings:
        made.add_column(heading, justify="right" if heading in numeric else "left", overflow="fold")
    return made


def terminal(*, quiet: bool = False) -> Console:
    """Return a console on standard output, which wraps nothing where that is no terminal."""
    console = Console(highlight=False, quiet=quiet)
    if not console.is_terminal:
        console.width = _UNCUT
    return console


def _json(facts: Sections) -> str:
    ascii_alone = not getattr(sys.stdout, "encoding", "utf-8").lower().startswith("utf")
    text = json.dumps(_plain(facts), ensure_ascii=ascii_alone, indent=1)
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _shown(name: str, section: Any, console: Console) -> list[Any]:
    if isinstance(section, Mapping):
        grid = Table.grid(padding=(0, 2))
        for field, value in section.items():
            grid.add_row(f"[dim]{_title(field)}[/]", _cell(value))
        return [grid]
    if isinstance(section, str | None):
        return [f"[dim]More: --{_title(name)} {section}[/]"] if section else []
    if not section:
        return [f"[dim]no {_title(name)}[/]"]
    title = f"[bold]{_title(name)}[/]"
    whole = table(*map(_title, section[0]), numeric={_title(field) for field in section[0] if _numeric(field, section)})
    for row in section:
        whole.add_row(*map(_cell, row.values()))
    if Measurement.get(console, console.options.update(max_width=_UNCUT), whole).maximum <= console.width:
        return [title, whole]
    # Too wide for this terminal: row by row.
    return [title, *(part for row in section for part in (*_shown(name, row, console), ""))][:-1]


def _numeric(field: str, rows: Sequence[Row]) -> bool:
    return any(isinstance(row[field], int | float) and not isinstance(row[field], bool) for row in rows)


def _title(name: str) -> str:
    return name.replace("_", " ")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return str(value) if isinstance(value, Bytes) else f"{value:,}"
    text = str(_value(value)) if isinstance(value, str | UUID | Enum) else json.dumps(value, ensure_ascii=False)
    return escape(_CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text))


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, without what is masked."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items() if each is not MASKED}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return _value(value)


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, UUID) else value
