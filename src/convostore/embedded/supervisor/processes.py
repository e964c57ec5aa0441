"""Child processes: they die with the supervisor, their output is logged, and they are reaped without threads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence

from .identity import Identity
from .logs import BoundedLog
from .strays import children_of

_READ_AT_ONCE = 1 << 16


class Process:
    """A child of the supervisor. `returncode` is None while it runs, negative after a signal."""

    def __init__(self, popen: subprocess.Popen[bytes], log: BoundedLog) -> None:
        self.pid = popen.pid
        self.returncode: int | None = None
        self._popen = popen
        self._log = log
        self._ended = asyncio.Event()
        assert popen.stdout is not None
        self._output = popen.stdout.fileno()
        os.set_blocking(self._output, False)
        asyncio.get_running_loop().add_reader(self._output, self._read)

    async def wait(self) -> int:
        """Wait for the end and return `returncode`."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send(self, number: int) -> None:
        """Send a signal, unless it has ended. The pid cannot be reused before this process has reaped it."""
        if self.returncode is None:
            os.kill(self.pid, number)

    async def stop(self, *steps: tuple[int, float]) -> None:
        """Send each signal and wait that many seconds for the end; finally send SIGKILL."""
        for number, seconds in steps:
            self.send(number)
            self.send(signal.SIGCONT)  # a stopped process handles the signal only then
            try:
                async with asyncio.timeout(seconds):
                    await self._ended.wait()
                return
            except TimeoutError:
                self._log.note(f"pid {self.pid} still runs {seconds:g} s after {signal.Signals(number).name}")
        self.send(signal.SIGKILL)
        await self._ended.wait()

    def _read(self) -> None:
        try:
            data = os.read(self._output, _READ_AT_ONCE)
        except BlockingIOError:
            return
        if data:
            self._log.write(data)
        elif self._popen.stdout is not None:
            asyncio.get_running_loop().remove_reader(self._output)
            self._popen.stdout.close()
            self._popen.stdout = None

    def _end(self, status: int) -> None:
        if self._popen.stdout is not None:
            self._read()  # its last output, for the error message
        self.returncode = self._popen.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()


class Processes:
    """All children of the supervisor.

    One thread and one SIGCHLD handler: PR_SET_PDEATHSIG is tied to the thread that forked, and code between fork and
    exec is safe only in a process without other threads.
    """

    def __init__(self) -> None:
        self._running: dict[int, Process] = {}
        self._orphans: dict[int, asyncio.Event] = {}
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        identity: Identity,
        log: BoundedLog,
        death_signal: int,
        environment: Mapping[str, str],
    ) -> Process:
        """Start a program as `identity` in its own session; Linux sends it `death_signal` if the supervisor dies."""
        popen = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=identity.preexec(os.getpid(), death_signal),
        )
        process = Process(popen, log)
        self._running[process.pid] = process
        return process

    async def end_orphans(self, log: BoundedLog, *, grace: float = 0.0) -> None:
        """Wait up to `grace` seconds for adopted orphans to end, then kill them.

        A busy backend of a crashed server would notice only at the end of its query.
        """
        while orphans := set(children_of(os.getpid())) - self._running.keys():
            ends = {pid: self._orphans.setdefault(pid, asyncio.Event()) for pid in orphans}
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await _all(ends.values())
            for pid in orphans:
                if not ends[pid].is_set():
                    log.note(f"ending pid {pid}, left behind by a server that has ended")
                    os.kill(pid, signal.SIGKILL)
            await _all(ends.values())

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (process := self._running.pop(pid, None)) is not None:
                process._end(status)
            if (end := self._orphans.pop(pid, None)) is not None:
                end.set()


async def _all(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        await event.wait()
