"""Processes that still use a data directory although their supervisor is gone, found through /proc (Linux only)."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator

_POLL_INTERVAL = 0.02
_GRACE = 6.0
"""Seconds an orphaned server gets to end by itself; PostgreSQL kills its own children after 5."""


async def wait_for_strays(data: str, program: str, *, mark: str) -> int | None:
    """Wait until no `program` works in the directory `data`; the pid of one that is none of ours.

    An orphan of ours was told to end when its supervisor died. If it does not (it was frozen, say), it is killed after
    a grace period; `mark` in its arguments tells that it is ours. One that somebody else started is never touched.
    """
    patience = time.monotonic() + _GRACE
    while True:
        found = list(_working_in(data, program))
        if not found:
            return None
        if time.monotonic() > patience:
            ours = [pid for pid in found if mark in _arguments(pid)]
            if not ours:
                return found[0]
            for pid in ours:
                os.kill(pid, signal.SIGKILL)
            patience += _GRACE
        await asyncio.sleep(_POLL_INTERVAL)


def _processes() -> Iterator[int]:
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    yield from (int(name) for name in names if name.isdigit())


def _working_in(data: str, program: str) -> Iterator[int]:
    try:
        wanted = os.stat(data)
    except OSError:
        return
    for pid in _processes():
        try:
            if os.path.samestat(os.stat(f"/proc/{pid}/cwd"), wanted):
                name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
                if name.split(" ")[0] == program:
                    yield pid
        except OSError:
            continue  # it ended, or is another user's and so cannot be in our directory


def _arguments(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsdecode(file.read())
    except OSError:
        return ""


def children_of(parent: int) -> Iterator[int]:
    """Pids of the living children of a process."""
    for pid in _processes():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                after_name = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(after_name[1]) == parent and after_name[0] != b"Z":
            yield pid
