"""Child processes: started so that they die with us, their output logged, reaped without threads."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from .identity import Identity
from .logs import BoundedLog
from .strays import children_of

_READ_AT_ONCE = 1 << 16


class Process:
    """A child of the supervisor. `returncode` is `None` while it runs, negative when a signal ended it."""

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
        """Wait for the end; the exit code as in `returncode`."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send(self, number: int) -> None:
        """Send a signal, unless it has ended. It cannot hit another process: only we reap it."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill_group(self) -> None:
        """SIGKILL it and what it started in its own session."""
        if self.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)

    async def stop(self, *steps: tuple[int, float]) -> None:
        """Send each signal and wait that many seconds, until it has ended; at last SIGKILL."""
        for number, seconds in steps:
            self.send(number)
            try:
                await asyncio.wait_for(self._ended.wait(), seconds)
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
            self._read()  # what it said last, for the error message
        self.returncode = self._popen.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()


class Processes:
    """All children of the supervisor. One thread and one SIGCHLD handler: PR_SET_PDEATHSIG follows the thread that
    forked, and code between fork and exec is only safe without threads."""

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
        """Start a program in its own session as `identity`; it gets `death_signal` if the supervisor dies (Linux)."""
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

    async def end_orphans(self, log: BoundedLog) -> None:
        """Kill what a crashed server left to us: a busy backend would notice only at the end of its query."""
        orphans = set(children_of(os.getpid())) - self._running.keys()
        for pid in orphans:
            log.note(f"ending pid {pid}, left behind by a crashed server")
            self._orphans[pid] = asyncio.Event()
            os.kill(pid, signal.SIGKILL)
        for pid in orphans:
            await self._orphans[pid].wait()
            del self._orphans[pid]

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
            if (gone := self._orphans.get(pid)) is not None:
                gone.set()
