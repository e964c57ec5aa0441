"""The costliest functions of a turn, from a profile of this thread's CPU time, which makes calls slower: see shares."""

from __future__ import annotations

import pstats
import re
from dataclasses import dataclass
from pathlib import Path

MOST = 10
_PACKAGES = ("convostore", "bench", "asyncpg", "asyncio", "redis")


@dataclass(frozen=True)
class Function:
    """A function's own time: calls in a turn, and its share of the time of all, 0 to 1."""

    name: str
    calls: float
    share: float


def costliest(stats: pstats.Stats, turns: int) -> list[Function]:
    """Return the functions with the longest times of their own, longest first."""
    table: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = stats.stats  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in table.values())
    found = sorted(table.items(), key=lambda item: -item[1][2])[:MOST]
    return [Function(_name(*where), calls / turns, own / total) for where, (_, calls, own, _, _) in found]


def _name(file: str, line: int, function: str) -> str:
    """Return a function's name with its module, without the paths of this machine."""
    if file == "~":
        return re.sub(r"[<>{}']|built-in method |method | of \S+ objects", "", function)
    parts = Path(file).with_suffix("").parts
    known = next((n for n, part in enumerate(parts) if part in _PACKAGES), -1)
    return f"{'.'.join(parts[known:])}.{function}"
