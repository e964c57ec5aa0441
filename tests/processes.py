"""Real processes: who is alive, who has ended, killing them, and a place of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


async def ended(*pids: int, timeout: float = 20.0) -> None:
    """Wait for the end of processes that need not be our children."""
    async with asyncio.timeout(timeout):
        for pid in pids:
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            gone = asyncio.Event()
            asyncio.get_running_loop().add_reader(descriptor, gone.set)
            try:
                await gone.wait()
            finally:
                asyncio.get_running_loop().remove_reader(descriptor)
                os.close(descriptor)


async def until(condition: Callable[[], object], what: str, timeout: float = 20.0) -> None:
    """Poll a condition on real state; an assertion error that names it when it does not come true."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout:g} s: {what}; alive: {alive_in(Path('convostore'))}"
        await asyncio.sleep(0.005)


def alive_in(place: Path) -> dict[int, str]:
    """Living processes that work in a directory or below, or name it in their arguments; except this one."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            state = Path("/proc", name, "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            arguments = Path("/proc", name, "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            try:
                folder = os.readlink(f"/proc/{name}/cwd")
            except OSError:
                folder = ""
            if state not in "ZX" and (os.fspath(place) in arguments or folder.startswith(os.fspath(place))):
                found[int(name)] = arguments
    return found


def kill(*pids: int) -> None:
    """SIGKILL all of them at once."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def private_directory() -> Iterator[Path]:
    """A short directory that the servers can enter in every mode, gone after the block."""
    # Memory where there is enough of it: these tests make and copy data directories all the time.
    shared = "/dev/shm"
    roomy = os.path.isdir(shared) and shutil.disk_usage(shared).free > 1 << 30
    path = Path(tempfile.mkdtemp(prefix="cs-", dir=shared if roomy else "/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
