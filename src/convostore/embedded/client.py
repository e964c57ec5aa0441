"""`open_embedded`: a lease on running servers, and their addresses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from convostore.embedded.binaries import postgres_programs, valkey_server
from convostore.embedded.errors import EmbeddedError
from convostore.embedded.launch import Connection, connect, runtime_roots, temporary_roots
from convostore.embedded.supervisor.protocol import Request, from_text, receive, to_text
from convostore.errors import ValidationError

_log = logging.getLogger("convostore.embedded")

_STOP_TIMEOUT = 90.0
"""Seconds that the last client waits for the shutdown; longer than the supervisor waits before it sends SIGKILL."""

_ABORT_TIMEOUT = 10.0
"""The same after a failed start, where little is to be stopped."""


class Embedded:
    """Running servers. Their addresses are stable across restarts; their pids are not."""

    def __init__(self, connection: Connection, *, postgres: bool, valkey: bool) -> None:
        self.home: Path = connection.home
        self.supervisor_pid: int = connection.supervisor_pid
        self._connection = connection
        self._wanted = {name for name, wanted in (("postgres", postgres), ("valkey", valkey)) if wanted}
        self._pids: dict[str, int | None] = {}
        self._servers = ""
        self._changed = asyncio.Condition()
        self._lost = False
        self._leaving = False
        self._started: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._following = asyncio.create_task(self._follow())

    @property
    def postgres_dsn(self) -> str:
        """The DSN for asyncpg: superuser `postgres`, database `convostore`, Unix socket, no password."""
        self._check("postgres")
        return f"postgresql://postgres@/convostore?host={quote(self._servers, safe='')}&port=5432&sslmode=disable"

    @property
    def redis_url(self) -> str:
        """The URL for redis-py: Unix socket, no password."""
        self._check("valkey")
        return f"unix://{quote(self._servers)}/valkey.sock"

    @property
    def postgres_pid(self) -> int | None:
        """The pid of the postmaster; None while it is down."""
        return self._pids.get("postgres")

    @property
    def valkey_pid(self) -> int | None:
        """The pid of the Valkey server; None while it is down."""
        return self._pids.get("valkey")

    async def wait_ready(self, *, without: int | None = None, timeout: float = 60.0) -> None:
        """Return when all requested servers accept connections.

        Args:
            without: a pid that does not count, such as that of a server just killed.
            timeout: in seconds.

        Raises:
            EmbeddedError: a server is not up in time, or the supervisor has exited.
        """

        def ready() -> bool:
            return self._lost or all(self._pids.get(name) not in (None, without) for name in self._wanted)

        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(ready)
        except TimeoutError:
            raise EmbeddedError(
                f"not all servers are up after {timeout:g} s: {self._pids}; see {self.home}/log"
            ) from None
        if self._lost:
            raise EmbeddedError(f"the supervisor of {self.home} has exited, and its servers with it")

    def _check(self, name: str) -> None:
        if name not in self._wanted:
            raise EmbeddedError(f"open_embedded(…, {name}=False) did not start it")

    async def _start(self) -> None:
        problem = await asyncio.shield(self._started)
        if problem is not None:
            raise EmbeddedError(problem)

    async def _follow(self) -> None:
        while (message := await receive(self._connection.reader)) is not None:
            if message["event"] == "state":
                await self._set_pids(message["pids"])
            elif not self._started.done():
                self._servers = from_text(message.get("servers", ""))
                self._started.set_result(message.get("message"))
        self._lost = True
        await self._set_pids({})
        if not self._started.done():
            self._started.set_result(f"the supervisor exited during the start; see {self.home}/log/supervisor.log")
        elif not self._leaving:
            _log.error("embedded supervisor lost", extra={"home": str(self.home), "pid": self.supervisor_pid})

    async def _leave(self, timeout: float) -> None:
        """End the lease; after the last one, wait until the supervisor has stopped the servers and exited."""
        self._leaving = True
        try:
            with contextlib.suppress(OSError):
                self._connection.writer.write_eof()
            await asyncio.wait({self._following}, timeout=timeout)
        finally:
            self._following.cancel()
            self._connection.writer.close()

    async def _set_pids(self, pids: dict[str, int | None]) -> None:
        async with self._changed:
            self._pids = pids
            self._changed.notify_all()


@asynccontextmanager
async def open_embedded(
    home: Path | None = None,
    *,
    ephemeral: bool = False,
    postgres: bool = True,
    valkey: bool = True,
    postgres_version: int = 18,
    start_timeout: float = 60.0,
) -> AsyncIterator[Embedded]:
    """Start the servers of a home, or share those that run, and stop them when the last client leaves.

    Args:
        home: the data directory, created if missing, used by convostore alone. Any path is valid.
        ephemeral: use a private temporary home, removed afterwards even if this process is killed. Without fsync: the
            data survive a crash of a server, not of the machine.
        postgres, valkey: which servers to start; at least one.
        postgres_version: the major version, 16 or 18. A home keeps the version it was created with.
        start_timeout: the deadline, in seconds, until every server accepts connections.

    Raises:
        EmbeddedError: the extra `convostore[embedded]` is missing, or a server does not start; quotes its log.
        ValueError: the arguments contradict each other.
    """
    if (home is None) is not ephemeral:
        raise ValueError("give either a home or ephemeral=True")
    if not (postgres or valkey):
        raise ValueError("postgres and valkey are both False: nothing to start")
    if os.name != "posix":
        raise EmbeddedError("embedded servers need Linux or macOS; give the URLs of servers of your own")
    version = postgres_version if postgres else None
    request = await asyncio.to_thread(_request, home, version, valkey=valkey, timeout=start_timeout)
    engines = None
    patience = _ABORT_TIMEOUT
    try:
        try:
            # A server that does not start is reported by the supervisor, whose deadline is earlier.
            async with asyncio.timeout(start_timeout + 1.0):
                engines = Embedded(await connect(request), postgres=postgres, valkey=valkey)
                await engines._start()
        except TimeoutError:
            raise EmbeddedError(_too_late(request, start_timeout, answered=engines is not None)) from None
        patience = _STOP_TIMEOUT
        yield engines
    finally:
        if engines is not None:
            await engines._leave(patience)


def _request(home: Path | None, version: int | None, *, valkey: bool, timeout: float) -> Request:
    try:
        resolved = None if home is None else to_text(home.expanduser().resolve())
    except RuntimeError as error:
        raise ValidationError(f"home: {home} begins with the directory of a user who has none") from error
    return Request(
        home=resolved,
        postgres_bin=None if version is None else to_text(postgres_programs(version)),
        postgres_version=version,
        valkey_server=to_text(valkey_server()) if valkey else None,
        timeout=timeout,
        temporary_roots=[to_text(root) for root in temporary_roots()],
        runtime_roots=[to_text(root) for root in runtime_roots()],
        identity=os.environ.get("CONVOSTORE_EMBEDDED_IDENTITY"),
    )


def _too_late(request: Request, timeout: float, *, answered: bool) -> str:
    text = f"the embedded servers are not ready after {timeout:g} s"
    if answered or request.home is None:
        return text
    return f"{text}: no supervisor of {from_text(request.home)} answered; if one hangs, its pid is in supervisor.json"
