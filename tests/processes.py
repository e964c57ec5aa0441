"""Real processes: wait for them, find them, kill them; and private directories for them."""

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
    """Wait for the end of processes, which need not be children of this one."""
    async with asyncio.timeout(timeout):
        for pid in pids:
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            end = asyncio.Event()
            asyncio.get_running_loop().add_reader(descriptor, end.set)
            try:
                await end.wait()
            finally:
                asyncio.get_running_loop().remove_reader(descriptor)
                os.close(descriptor)


async def until(condition: Callable[[], object], what: str, timeout: float = 20.0) -> None:
    """Poll a condition on real state; fail with its description at the timeout."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout:g} s: {what}; alive: {alive_in(Path('convostore'))}"
        await asyncio.sleep(0.005)


def alive_in(directory: Path) -> dict[int, str]:
    """Return the processes, except this one, that run in a directory or have it in their arguments."""
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
            if state not in "ZX" and (os.fspath(directory) in arguments or folder.startswith(os.fspath(directory))):
                found[int(name)] = arguments
    return found


def kill(*pids: int) -> None:
    """Send SIGKILL to each."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def private_directory() -> Iterator[Path]:
    """A directory with a short path that the servers can enter in every mode; removed after the block."""
    # In memory if there is enough: these tests create and copy many data directories.
    shared = "/dev/shm"
    roomy = os.path.isdir(shared) and shutil.disk_usage(shared).free > 1 << 30
    path = Path(tempfile.mkdtemp(prefix="cs-", dir=shared if roomy else "/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
