"""The life cycle of a server: start, readiness, restart after a crash, stop."""

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
"""First and longest interval between readiness probes, in seconds; the end of the process ends the wait at once."""

_BACKOFF = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each restart in a row; the last value repeats."""

_STABLE_AFTER = 30.0
"""Uptime in seconds after which the backoff starts over."""

ENVIRONMENT = {"PATH": os.defpath, "LANG": "C", "TZ": "UTC"}
"""The servers' whole environment: PGDATA, LD_PRELOAD or LC_ALL of the caller must not reach them."""


class EngineError(Exception):
    """A server cannot be started; the message is for the user."""


@dataclass(frozen=True)
class Place:
    """Where the servers run, and as which user."""

    home: Home
    runtime: RuntimeDirectory
    identity: Identity
    processes: Processes
    supervisor_log: BoundedLog
    changed: Callable[[], None]
    """Called when a server has started or ended."""


class Engine:
    """A server that is kept running from the first `ready()` until `stop()`."""

    name: str
    death_signal: int = signal.SIGKILL

    def __init__(self, place: Place) -> None:
        self.place = place
        self.log = BoundedLog(place.home.join("log", f"{self.name}.log"))
        self.pid: int | None = None
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Prepare the data directory for a start."""
        raise NotImplementedError

    def argv(self) -> list[str]:
        """Return the server's program and arguments."""
        raise NotImplementedError

    async def answers(self) -> bool:
        """Return whether the server answers requests."""
        raise NotImplementedError

    async def end(self, process: Process) -> None:
        """Shut down the running server without loss of data."""
        raise NotImplementedError

    async def abort(self, process: Process) -> None:
        """End a server that is still starting."""
        await process.stop()

    @property
    def is_active(self) -> bool:
        """Whether the server runs, starts or awaits a restart."""
        return self._task is not None and not self._task.done()

    @property
    def data(self) -> str:
        """The data directory."""
        return self.place.home.join(self.name)

    async def ready(self, timeout: float) -> None:
        """Start the server unless it runs, and return when it is ready; `EngineError` if that fails."""
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
            raise EngineError(f"{self.name} is not ready after {timeout:.1f} s; its log ends with\n{self.log.tail()}")

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
                self.place.supervisor_log.note(f"{self.name} did not restart: {error}")
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
            # No deadline: crash recovery may take long, and a client that gives up ends its lease.
            while not await self._answers_soon():
                if process.returncode is not None:
                    raise EngineError(
                        f"{self.name} ended with {describe(process.returncode)} during its start; its log ends with\n"
                        f"{self.log.tail()}\n    ({self.log.path})"
                    )
                await asyncio.wait({ended}, timeout=interval)
                interval = min(interval * 1.3, longest)  # PostgreSQL logs every probe during recovery
            await self.finish()
            return process
        except BaseException:
            await self.abort(process)
            raise
        finally:
            ended.cancel()

    async def finish(self) -> None:
        """Complete the start, after the first answer and before clients are notified."""

    def spawn(self, argv: Sequence[str], *, cwd: str, death_signal: int) -> Process:
        """Start a program under the servers' identity, with its output in this engine's log."""
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
            # Not wait_for: before Python 3.12 it loses a cancellation that coincides with the result.
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
    """Describe an exit code."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
