"""PostgreSQL: makes the cluster, and starts it with what must not be changed as arguments."""

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

# Ordering by code point. 18 has it built in, with case mapping for all of Unicode; 16 takes the C library's.
_LOCALE = {
    16: ["--locale-provider=libc"],
    18: ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"],
}

# Written to postgresql.conf when the cluster is made; a user may change them there.
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
    # Immediate shutdown: unlike SIGKILL it takes the backends along, at whatever they are, and removes shared memory.
    death_signal = signal.SIGQUIT

    def __init__(self, place: Place, programs: str, version: int) -> None:
        super().__init__(place)
        self._programs = programs
        self.version = version
        self.socket = os.path.join(place.runtime.servers, SOCKET_NAME)

    async def prepare(self) -> None:
        """Make the cluster if there is none, and make sure that nobody uses it."""
        if not os.path.lexists(self.data):  # noqa: ASYNC240  this process has nothing better to do
            await self._initialise()
        found = self._found_version()
        if found != str(self.version):
            raise EngineError(
                f"{self.data} was made by PostgreSQL {found} and cannot be opened by {self.version}; pass "
                f"postgres_version={found}, or dump it with that version and load it into a new home"
            )
        files.give(self.data, self.place.identity.uid, self.place.identity.gid)
        await self.place.processes.end_orphans(self.place.supervisor_log)
        stray = await wait_for_strays(self.data, "postgres", mark=self.socket_directory)
        if stray is not None:
            raise EngineError(f"another PostgreSQL (pid {stray}), not started by convostore, uses {self.data}")
        # We hold the home's lock and no server is at work in there, so these name a dead server or somebody else's
        # process that got its number; PostgreSQL would believe them.
        if can_see():
            for path in (os.path.join(self.data, "postmaster.pid"), self.socket, self.socket + ".lock"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    @property
    def socket_directory(self) -> str:
        """The directory of the socket."""
        return self.place.runtime.servers

    def argv(self) -> list[str]:
        """The settings on which safety rests, where neither postgresql.conf nor ALTER SYSTEM can change them."""
        settings = {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": self.socket_directory,
            "unix_socket_permissions": "0700",
            "logging_collector": "off",
            "log_destination": "stderr",
        }
        if self.place.home.ephemeral:
            # Nothing has to survive a power failure. A crash of the server is survived all the same.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [os.path.join(self._programs, "postgres"), "-D", self.data, *arguments]

    async def answers(self) -> bool:
        """Whether it accepts a connection and runs a statement."""
        try:
            await self._run("SELECT 1")
        except (pgwire.Refused, OSError, EOFError):
            return False
        return True

    async def finish(self) -> None:
        """Create the database; looked up at every start, so that a crash in between does no harm."""
        try:
            if not await self._run("SELECT 1 FROM pg_database WHERE datname = 'convostore' AND datconnlimit <> -2"):
                # -2 marks what a crash left of a DROP DATABASE.
                await self._run("DROP DATABASE IF EXISTS convostore")
                await self._run("CREATE DATABASE convostore")
        except (pgwire.Refused, OSError, EOFError) as error:
            raise EngineError(f"the database convostore cannot be created: {error}") from error

    async def end(self, process: Process) -> None:
        """Fast shutdown: sessions are ended and a checkpoint written. Immediate where nothing is to be kept."""
        if not self.place.home.ephemeral:
            await process.stop((signal.SIGINT, 60.0), _IMMEDIATE)
        await self.abort(process)

    async def abort(self, process: Process) -> None:
        """Immediate shutdown, which removes shared memory; SIGKILL would leave it."""
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
        """Run initdb beside the data directory and rename: what carries the name is complete."""
        staging = self.place.home.make_staging(self.name, self.place.identity)
        argv = [
            os.path.join(self._programs, "initdb"),
            f"--pgdata={staging}",
            "--username=postgres",
            # No passwords: the socket directory is closed to everybody else. TCP is off and stays closed if turned on.
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
            # What it ran ends when nobody feeds it any more, and unlike when killed leaves no shared memory behind.
            await self.place.processes.end_orphans(self.place.supervisor_log, grace=5.0)
            if process.returncode != 0:
                files.remove_tree(staging)
        if code != 0:
            raise EngineError(f"initdb ended with {describe(code)}; its last words were\n{self.log.tail()}")
        self.place.home.adopt(staging, self.name)


def _unicode_ctype() -> str:
    """The C library's name for character classes of Unicode in no language; without one, only ASCII has case."""
    kept = locale.setlocale(locale.LC_CTYPE)
    try:
        for name in ("C.UTF-8", "C.utf8", "en_US.UTF-8"):
            with contextlib.suppress(locale.Error):
                locale.setlocale(locale.LC_CTYPE, name)
                return name
        return "C"
    finally:
        locale.setlocale(locale.LC_CTYPE, kept)
