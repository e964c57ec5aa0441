"""PostgreSQL: creates the cluster, and passes the settings that must not change as arguments."""

from __future__ import annotations

import contextlib
import locale
import os
import signal

from . import files, pgwire
from .engine import Engine, EngineError, Place, describe
from .processes import Process
from .strays import can_see, wait_for_strays

SOCKET_NAME = ".s.PGSQL.5432"

# Collation by code point: built in from 18 on, with case mapping for all of Unicode; 16 uses the C library's.
_LOCALE = {
    16: ["--locale-provider=libc"],
    18: ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"],
}

# Written to postgresql.conf by initdb; a user may change them there.
_DEFAULTS = {
    "shared_buffers": "128MB",
    "max_connections": "200",
    "huge_pages": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


_IMMEDIATE = (signal.SIGQUIT, 10.0)


class Postgres(Engine):
    """The PostgreSQL server of a home."""

    name = "postgres"
    # Immediate shutdown: unlike SIGKILL, it ends busy backends too and removes shared memory.
    death_signal = signal.SIGQUIT

    def __init__(self, place: Place, programs: str, version: int) -> None:
        super().__init__(place)
        self._programs = programs
        self.version = version
        self.socket = os.path.join(place.runtime.servers, SOCKET_NAME)

    async def prepare(self) -> None:
        """Create the cluster if there is none, and ensure that no process uses it."""
        if not os.path.lexists(self.data):  # noqa: ASYNC240  one system call
            await self._initialise()
        found = self._found_version()
        if found != str(self.version):
            raise EngineError(
                f"{self.data} was created by PostgreSQL {found} and cannot be opened by {self.version}; pass "
                f"postgres_version={found}, or dump it with that version and load it into a new home"
            )
        files.give(self.data, self.place.identity.uid, self.place.identity.gid)
        await self.place.processes.end_orphans(self.place.supervisor_log)
        stray = await wait_for_strays(self.data, "postgres", mark=self.socket_directory)
        if stray is not None:
            raise EngineError(f"another PostgreSQL (pid {stray}), not started by convostore, uses {self.data}")
        # This process holds the home's lock and no server uses the directory, so these files are stale: their pid is
        # dead or reused, and a reused pid would keep PostgreSQL from starting.
        if can_see():
            for path in (os.path.join(self.data, "postmaster.pid"), self.socket, self.socket + ".lock"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    @property
    def socket_directory(self) -> str:
        """The directory of the Unix socket."""
        return self.place.runtime.servers

    def argv(self) -> list[str]:
        """Return program and settings; as arguments they take precedence over postgresql.conf and ALTER SYSTEM."""
        settings = {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": self.socket_directory,
            "unix_socket_permissions": "0700",
            "logging_collector": "off",
            "log_destination": "stderr",
        }
        if self.place.home.ephemeral:
            # No durability against a power failure. A crash of the server still loses nothing.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [os.path.join(self._programs, "postgres"), "-D", self.data, *arguments]

    async def answers(self) -> bool:
        """Return whether it accepts a connection and runs a statement."""
        try:
            await self._run("SELECT 1")
        except (pgwire.Refused, OSError, EOFError):
            return False
        return True

    async def finish(self) -> None:
        """Create the database unless it exists; checked at every start, as a crash may have come in between."""
        try:
            if not await self._run("SELECT 1 FROM pg_database WHERE datname = 'convostore' AND datconnlimit <> -2"):
                # -2 marks a database whose DROP was interrupted.
                await self._run("DROP DATABASE IF EXISTS convostore")
                await self._run("CREATE DATABASE convostore")
        except (pgwire.Refused, OSError, EOFError) as error:
            raise EngineError(f"the database convostore cannot be created: {error}") from error

    async def end(self, process: Process) -> None:
        """Fast shutdown, which ends connections and writes a checkpoint; immediate shutdown of an ephemeral home."""
        if not self.place.home.ephemeral:
            await process.stop((signal.SIGINT, 60.0), _IMMEDIATE)
        await self.abort(process)

    async def abort(self, process: Process) -> None:
        """Immediate shutdown, which unlike SIGKILL removes shared memory."""
        await process.stop(_IMMEDIATE)

    async def _run(self, statement: str) -> int:
        return await pgwire.run(self.socket, "postgres", statement)

    def _found_version(self) -> str:
        try:
            with open(os.path.join(self.data, "PG_VERSION"), encoding="ascii") as file:
                return file.read().strip()
        except OSError as error:
            raise EngineError(f"{self.data} is not a PostgreSQL data directory: {error.strerror}") from error

    async def _initialise(self) -> None:
        """Run initdb in a staging directory and rename it, so that the data directory is complete or absent."""
        staging = self.place.home.make_staging(self.name, self.place.identity)
        argv = [
            os.path.join(self._programs, "initdb"),
            f"--pgdata={staging}",
            "--username=postgres",
            # No passwords: only this user can enter the socket directory. TCP is off, and rejected if turned on.
            "--auth-local=trust",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--data-checksums",
            "--no-instructions",
            "--locale=C",
            f"--lc-ctype={_unicode_ctype()}",
            *_LOCALE[self.version],
            *(f"--set={name}={value}" for name, value in _DEFAULTS.items()),
            *(["--no-sync"] if self.place.home.ephemeral else []),
        ]
        process = self.spawn(argv, cwd=staging, death_signal=signal.SIGKILL)
        try:
            code = await process.wait()
        finally:
            process.send(signal.SIGKILL)
            await process.wait()
            # The bootstrap backend ends at the end of its input and then, unlike after SIGKILL, removes shared memory.
            await self.place.processes.end_orphans(self.place.supervisor_log, grace=5.0)
            if process.returncode != 0:
                files.remove_tree(staging)
        if code != 0:
            raise EngineError(f"initdb ended with {describe(code)}; its log ends with\n{self.log.tail()}")
        self.place.home.adopt(staging, self.name)


def _unicode_ctype() -> str:
    """Return the C library's language-neutral locale with Unicode character classes; "C", with ASCII only, if none."""
    kept = locale.setlocale(locale.LC_CTYPE)
    try:
        for name in ("C.UTF-8", "C.utf8", "en_US.UTF-8"):
            with contextlib.suppress(locale.Error):
                locale.setlocale(locale.LC_CTYPE, name)
                return name
        return "C"
    finally:
        locale.setlocale(locale.LC_CTYPE, kept)
