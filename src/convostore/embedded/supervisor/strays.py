"""Finds, through /proc on Linux, processes that use a data directory after their supervisor has died."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator

_POLL_INTERVAL = 0.02
_GRACE = 6.0
"""Seconds that an orphaned server has to end by itself; PostgreSQL kills its children after 5."""


def can_see() -> bool:
    """Return whether this system has /proc."""
    return os.path.isdir("/proc/self/fd")


async def wait_for_strays(data: str, program: str, *, mark: str) -> int | None:
    """Wait until no `program` runs in the directory `data`; return the pid of a foreign one, if any.

    An orphan of an earlier supervisor, recognised by `mark` in its arguments, was sent a signal when that supervisor
    died; if it is stopped or too slow, it is killed. A foreign server is left alone. The children of a server, which
    replace their arguments by a title, end with it.
    """
    patience = time.monotonic() + _GRACE
    while found := list(_working_in(data, program)):
        impatient = time.monotonic() > patience
        servers = {pid: arguments for pid in found if not (arguments := _arguments(pid)).startswith(f"{program}: ")}
        for pid, arguments in servers.items():
            if arguments and mark not in arguments:
                return pid
            if impatient or _status(pid)[0] in b"Tt":
                os.kill(pid, signal.SIGKILL)
        if impatient and not servers:
            return found[0]
        await asyncio.sleep(_POLL_INTERVAL)
    return None


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
            continue  # it has ended, or is another user's, which cannot enter the directory


def _arguments(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsdecode(file.read())
    except OSError:
        return ""


def children_of(parent: int) -> Iterator[int]:
    """Yield the pids of the living children of a process."""
    for pid in _processes():
        state, its_parent = _status(pid)
        if int(its_parent) == parent and state != b"Z":
            yield pid


def _status(pid: int) -> tuple[bytes, bytes]:
    """Return state letter and parent pid; X and 0 for a process that does not exist."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return b"X", b"0"
    return fields[0], fields[1]
