"""A real PgBouncer: the one on PATH, else Debian's package, unpacked without root into `build/`."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from convostore.embedded.supervisor.identity import choose
from convostore.postgres.driver import Pooler as Mode
from tests.processes import private_directory, until

UNPACKED = Path(__file__).parents[2] / "build" / "pgbouncer"
LIBRARIES = "usr/lib/*-linux-gnu"


@dataclass(frozen=True)
class Program:
    """An executable, and the directories of the shared libraries that it needs besides the system's."""

    path: str
    libraries: str = ""


def found() -> Program:
    """Return PgBouncer; skip the test, with the reason, if there is none and none can be had."""
    if path := shutil.which("pgbouncer"):
        return Program(path)
    if not shutil.which("apt-get"):
        pytest.skip("no pgbouncer on PATH, and no apt-get to download Debian's package with")
    UNPACKED.parent.mkdir(exist_ok=True)
    with UNPACKED.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the processes of a parallel run
        if not UNPACKED.exists():
            try:
                _download(UNPACKED)
            except subprocess.SubprocessError as error:
                said = str(getattr(error, "stderr", "") or error).strip()
                pytest.skip(f"Debian's package pgbouncer cannot be downloaded: {said[-300:]}")
    libraries = ":".join(map(str, UNPACKED.glob(LIBRARIES)))
    return Program(str(UNPACKED / "usr/sbin/pgbouncer"), libraries)


def _download(target: Path) -> None:
    """Unpack the package, and those of the libraries which the system lacks."""
    with private_directory() as area:
        options: list[str] = []
        try:
            _run(area, "apt-get", "download", "pgbouncer")
        except subprocess.CalledProcessError:
            # A new machine has no lists of packages, and only root may write the system's.
            for name in ("lists/partial", "archives/partial"):
                (area / name).mkdir(parents=True)
            options = ["-o", f"Dir::State::Lists={area}/lists", "-o", f"Dir::Cache={area}"]
            _run(area, "apt-get", *options, "-o", "APT::Sandbox::User=", "update")
            _run(area, "apt-get", *options, "download", "pgbouncer")
        (package,) = area.glob("pgbouncer_*.deb")
        needed = _run(area, "dpkg-deb", "--field", package.name, "Depends")
        names = [entry.split()[0] for entry in needed.split(",")]
        missing = [name for name in names if name.startswith("lib") and not _is_installed(name)]
        if missing:
            _run(area, "apt-get", *options, "download", *missing)
        for each in area.glob("*.deb"):
            _run(area, "dpkg-deb", "--extract", each.name, "unpacked")
        shutil.copytree(area / "unpacked", target, symlinks=True)


def _is_installed(package: str) -> bool:
    return (
        "install ok installed"
        in subprocess.run(
            ["dpkg-query", "--show", "--showformat=${Status}", package], capture_output=True, text=True, check=False
        ).stdout
    )


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


@dataclass(frozen=True)
class Pooler:
    """A running PgBouncer.

    Attributes:
        mode: its `pool_mode`.
        folder: of its socket.
        log: the file that it writes.
    """

    mode: Mode
    folder: Path
    log: Path

    def dsn(self, user: str, database: str = "convostore") -> str:
        """Return the DSN of a user by way of the pooler."""
        return f"postgresql://{user}@/{database}?host={self.folder}&port=6432"


@asynccontextmanager
async def pgbouncer(postgres_dsn: str, mode: Mode, database: str = "*", /, **settings: object) -> AsyncIterator[Pooler]:
    """PgBouncer in front of a server, for whatever user.

    Args:
        postgres_dsn: the server.
        mode: its `pool_mode`.
        database: the one that it knows.
        settings: further ones of its configuration.
    """
    program, identity = found(), choose()
    (socket_folder,) = parse_qs(urlsplit(postgres_dsn).query)["host"]
    with private_directory() as folder:
        pooler = Pooler(mode, folder, folder / "log")
        given = {
            "auth_type": "trust",
            "auth_file": folder / "users",
            "auth_query": "SELECT rolname, '' FROM pg_roles WHERE rolname = $1",
            "auth_user": "postgres",
            "listen_port": 6432,
            "unix_socket_dir": folder,
            "pool_mode": mode,
            "max_client_conn": 100,
            "default_pool_size": 5,
            **settings,
        }
        lines = ["[databases]", f"{database} = host={socket_folder} port=5432", "[pgbouncer]"]
        configuration = folder / "pgbouncer.ini"
        configuration.write_text("\n".join([*lines, *(f"{name} = {value}" for name, value in given.items())]) + "\n")
        (folder / "users").write_text('"postgres" ""\n')
        os.chown(folder, identity.uid, identity.gid)
        with pooler.log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                program.path,
                str(configuration),
                env={"PATH": os.defpath, "LD_LIBRARY_PATH": program.libraries},
                stdout=log,
                stderr=log,
                preexec_fn=identity.preexec(os.getpid(), signal.SIGKILL),
            )
        try:
            await until(
                lambda: _answers(folder / f".s.PGSQL.{given['listen_port']}") or process.returncode is not None,
                "it answers",
            )
            assert process.returncode is None, pooler.log.read_text()
            yield pooler
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0
