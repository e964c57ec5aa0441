"""Processes that hold a lease on the embedded servers, and queries to the servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from redis.asyncio import Redis

HOLDER = Path(__file__).with_name("holder.py")


@dataclass
class Holder:
    """Another process that holds a lease until it is released or killed."""

    process: asyncio.subprocess.Process
    facts: dict[str, Any]

    @property
    def pids(self) -> list[int]:
        """Supervisor, PostgreSQL and Valkey."""
        return [self.facts[name] for name in ("supervisor_pid", "postgres_pid", "valkey_pid")]

    async def release(self) -> None:
        """End the lease and exit."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert await self.process.wait() == 0

    async def kill(self) -> None:
        """SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


async def start_holder(home: Path | None = None, *, wait: bool = True, **options: Any) -> Holder:
    """Start a process that opens the servers; with `wait`, return once it holds a lease."""
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
    """A holder that is killed after the block."""
    holder = await start_holder(home, **options)
    try:
        yield holder
    finally:
        await holder.kill()


async def query(dsn: str, statement: str) -> Any:
    """Return the single value of a statement."""
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
