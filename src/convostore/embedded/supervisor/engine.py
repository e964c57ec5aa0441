"""What both servers have in common: start, readiness, restart after a crash, stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .home import Home
from .identity import Identity
from .logs import BoundedLog
from .processes import Process, Processes
from .runtime import RuntimeDirectory

_PROBE_INTERVALS = (0.02, 0.25)
"""Seconds between the first two questions to a starting server, and at most; its death ends the wait at once."""

_BACKOFF = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds before the first, second, … restart in a row; the last one repeats."""

_STABLE_AFTER = 30.0
"""Seconds of service after which a crash counts as the first again."""

ENVIRONMENT = {"PATH": os.defpath, "LANG": "C", "TZ": "UTC"}
"""All that the servers inherit: PGDATA, LD_PRELOAD or LC_ALL of the caller must not change what they do."""


class EngineError(Exception):
    """A server cannot be started; the text is for the person who asked."""


@dataclass(frozen=True)
class Place:
    """Where servers run and as whom."""

    home: Home
    runtime: RuntimeDirectory
    identity: Identity
    processes: Processes
    supervisor_log: BoundedLog
    changed: Callable[[], None]
    """Called when a server came or went."""


class Engine:
    """One server, kept running from the first `ready()` until `stop()`."""

    name: str
    death_signal: int = signal.SIGKILL

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = BoundedLog(place.home.join("log", f"{self.name}.log"))
        self.pid: int | None = None
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Bring the data directory into a state from which the server starts."""
        raise NotImplementedError

    def argv(self) -> list[str]:
        """Program and arguments of the server."""
        raise NotImplementedError

    async def answers(self) -> bool:
        """Whether the server serves requests now."""
        raise NotImplementedError

    async def end(self, process: Process) -> None:
        """Stop the running server without losing data."""
        raise NotImplementedError

    async def abort(self, process: Process) -> None:
        """End a server that is still starting."""
        await process.stop()

    @property
    def is_active(self) -> bool:
        """Whether the server runs, starts or will be restarted."""
        return self._task is not None and not self._task.done()

    @property
    def data(self) -> str:
        """The data directory."""
        return self.place.home.join(self.name)

    async def ready(self, timeout: float) -> None:
        """Start the server if it does not run and return when it serves; `EngineError` if that fails."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep_running())
        running = self._task
        up = asyncio.ensure_future(self._up.wait())
        try:
            await asyncio.wait((up, running), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
        if running.done():
            running.result()
        if not self._up.is_set():
            raise EngineError(f"{self.name} is not ready after {timeout:.1f} s; its last words were\n{self.log.tail()}")

    async def stop(self) -> None:
        """Stop the server, or its start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, EngineError, OSError):
                await self._task

    async def _keep_running(self) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            try:
                process = await self._start()
            except (EngineError, OSError) as error:
                if failures == 0:
                    raise
                self.place.supervisor_log.note(f"{self.name} did not come back: {error}")
            else:
                try:
                    self._announce(process.pid)
                    code = await process.wait()
                except asyncio.CancelledError:
                    self._announce(None)
                    await self.end(process)
                    raise
                self._announce(None)
                self.place.supervisor_log.note(
                    f"{self.name} (pid {process.pid}) ended with {describe(code)}; restarting it"
                )
                if time.monotonic() - started > _STABLE_AFTER:
                    failures = 0
            await asyncio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
            failures += 1

    async def _start(self) -> Process:
        self.log.forget()
        await self.prepare()
        process = self.spawn(self.argv(), cwd=self.data, death_signal=self.death_signal)
        ended = asyncio.create_task(process.wait())
        interval, longest = _PROBE_INTERVALS
        try:
            # No deadline here: recovery after a crash takes what it takes, and a client that gives up ends its lease.
            while not await self._answers_soon():
                if process.returncode is not None:
                    raise EngineError(
                        f"{self.name} ended with {describe(process.returncode)} while it started; its last words were\n"
                        f"{self.log.tail()}\n    ({self.log.path})"
                    )
                await asyncio.wait({ended}, timeout=interval)
                interval = min(interval * 1.3, longest)  # PostgreSQL logs each question while it recovers
            await self.finish()
            return process
        except BaseException:
            await self.abort(process)
            raise
        finally:
            ended.cancel()

    async def finish(self) -> None:
        """What has to be done once the server answers, before anybody is told."""

    def spawn(self, argv: Sequence[str], *, cwd: str, death_signal: int) -> Process:
        """Start a program as the servers' identity, its output in this engine's log."""
        try:
            return self.place.processes.start(
                argv,
                cwd=cwd,
                identity=self.place.identity,
                log=self.log,
                death_signal=death_signal,
                environment=ENVIRONMENT,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EngineError(f"{argv[0]} cannot be run: {error}") from error

    async def _answers_soon(self) -> bool:
        try:
            # Not wait_for: until Python 3.12 it loses a cancellation that arrives together with the answer.
            async with asyncio.timeout(5.0):
                return await self.answers()
        except TimeoutError:
            return False

    def _announce(self, pid: int | None) -> None:
        self.pid = pid
        if pid is None:
            self._up.clear()
        else:
            self._up.set()
        self.place.changed()


def describe(code: int) -> str:
    """An exit code in words."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
