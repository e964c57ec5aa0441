"""Servers over TCP, set up as others set theirs up: PostgreSQL of the wheels, servers of Debian, certificates."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.cluster.nodes import free_ports

_DATABASE_USER = 65_534 if os.getuid() == 0 else None
"""PostgreSQL does not run as root."""


_SET_PARENT_DEATH_SIGNAL = 1


@asynccontextmanager
async def running_postgres(programs: Path, directory: Path, *, hba: str = "", **settings: str) -> AsyncIterator[int]:
    """Run a new server on a port of this machine; yield the port.

    Args:
        programs: where `postgres` and `initdb` are.
        directory: a new one, for its data.
        hba: lines of pg_hba.conf that come before the one that lets everybody in.
        settings: of postgresql.conf.
    """
    (port,) = free_ports(1)
    given = {"port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
    process = await asyncio.to_thread(_started, programs, directory, hba, given | settings)
    try:
        async with asyncio.timeout(60):
            while not await _answers(port):
                assert process.poll() is None, f"it ended; see {directory}/log"
                await asyncio.sleep(0.05)
        yield port
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait()


def _started(programs: Path, directory: Path, hba: str, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    directory.mkdir()
    if _DATABASE_USER is not None:
        os.chown(directory, _DATABASE_USER, -1)
    libc, data = ctypes.CDLL(None), directory / "data"
    made = "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"
    where: dict[str, Any] = {"user": _DATABASE_USER, "cwd": directory}
    subprocess.run([programs / "initdb", "-D", data, *made], check=True, capture_output=True, **where)
    (data / "pg_hba.conf").write_text(f"{hba}host all all 127.0.0.1/32 trust\n")
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (directory / "log").open("wb") as log:
        # It dies with this process.
        where["preexec_fn"] = lambda: libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGQUIT)
        return subprocess.Popen([programs / "postgres", "-D", data, *options], stdout=log, stderr=log, **where)


async def _answers(port: int) -> bool:
    try:
        connection = await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=prefer")
    except (OSError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True


def debian_programs(directory: Path, program: str, *packages: str) -> tuple[Path, str]:
    """Return a program of Debian's packages, installed or unpacked from them, and the folder of its libraries.

    Skips the test where they cannot be fetched.
    """
    if (installed := Path("/", program)).exists():
        return installed, ""
    for name in packages:
        found = shutil.which("apt-get") and subprocess.run(
            ["apt-get", "download", name], cwd=directory, capture_output=True, text=True
        )
        if not found or found.returncode or not (archives := list(directory.glob(f"{name}_*.deb"))):
            pytest.skip(f"Debian's package {name} is not installed and cannot be fetched")
        subprocess.run(["dpkg", "-x", archives[0], directory / "debian"], check=True)
    libraries = {os.fspath(path.parent) for path in (directory / "debian").rglob("lib*.so.*")}
    return directory / "debian" / program, ":".join(libraries)


def make_certificates(directory: Path) -> dict[str, Path]:
    """Make an authority, another one, and a server's key and certificate for `localhost`; return their files."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not here")
    files = {name: directory / name for name in ("ca.pem", "ca.key", "other.pem", "server.pem", "server.key", "csr")}
    new = "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    for name, key in (("ca.pem", "ca.key"), ("other.pem", "other.key")):
        openssl("req", "-x509", *new, "-keyout", key, "-out", name, "-subj", "/CN=authority", "-days", "2")
    openssl("req", *new, "-keyout", "server.key", "-out", "csr", "-subj", "/CN=localhost")
    (directory / "san").write_text("subjectAltName=DNS:localhost")
    signing = "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "san", "-days", "2"
    openssl("x509", "-req", "-in", "csr", *signing, "-out", "server.pem")
    files["server.key"].chmod(0o600)
    if _DATABASE_USER is not None:
        os.chown(files["server.key"], _DATABASE_USER, -1)
    return files
