"""CPU time of server processes, on Linux."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Stopwatch = Callable[[], float]
"""Returns the CPU seconds since it was made."""


def stopwatch(*servers: int) -> Stopwatch:
    """Start to measure these processes and their children; what has ended meanwhile is left out."""
    before = _times(servers)
    return lambda: sum(seconds - before.get(pid, 0.0) for pid, seconds in _times(servers).items())


def _times(servers: tuple[int, ...]) -> dict[int, float]:
    children = (Path(f"/proc/{pid}/task/{pid}/children").read_text().split() for pid in servers)
    return {pid: _seconds(pid) for pid in (*servers, *(int(child) for found in children for child in found))}


def _seconds(pid: int) -> float:
    """Return how long a process was on a CPU; `stat` has the same in hundredths of a second."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except FileNotFoundError:
        return 0.0
