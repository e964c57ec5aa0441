"""Real processes for the tests of the embedded servers: clients that can be killed, and a look at who is alive."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from redis.asyncio import Redis

HOLDER = Path(__file__).with_name("holder.py")


@dataclass
class Holder:
    """Another process that has the servers open until it is let go or killed."""

    process: asyncio.subprocess.Process
    facts: dict[str, Any]

    @property
    def pids(self) -> list[int]:
        """Supervisor, PostgreSQL and Valkey."""
        return [self.facts[name] for name in ("supervisor_pid", "postgres_pid", "valkey_pid")]

    async def let_go(self) -> None:
        """Leave the block and end, in the ordinary way."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert await self.process.wait() == 0

    async def kill(self) -> None:
        """SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


async def start_holder(home: Path | None = None, *, wait: bool = True, **options: Any) -> Holder:
    """Start a process that opens the servers; with `wait`, return when it has them."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HOLDER),
        json.dumps({"home": None if home is None else os.fspath(home), **options}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    holder = Holder(process, {})
    if wait:
        assert process.stdout is not None
        line = await process.stdout.readline()
        assert line, f"the holder ended with {await process.wait()}"
        holder.facts = json.loads(line)
    return holder


@asynccontextmanager
async def holding(home: Path | None = None, **options: Any) -> AsyncIterator[Holder]:
    """A holder that is gone after the block."""
    holder = await start_holder(home, **options)
    try:
        yield holder
    finally:
        await holder.kill()


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


async def query(dsn: str, statement: str) -> Any:
    """The single value a statement returns."""
    connection = await asyncpg.connect(dsn=dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def valkey(url: str) -> AsyncIterator[Redis]:
    """A client of a Valkey server."""
    client = Redis.from_url(url)
    try:
        yield client
    finally:
        await client.aclose()
