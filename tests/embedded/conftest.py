"""Homes for the tests of the embedded servers, and the modes in which root runs them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from convostore.embedded import open_embedded
from tests.processes import alive_in, private_directory, until

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]


@pytest.fixture(scope="session")
async def _used_home() -> AsyncIterator[Path]:
    with private_directory() as path:
        async with open_embedded(path / "home"):
            pass
        yield path / "home"


@pytest.fixture
async def home(area: Path, _used_home: Path) -> AsyncIterator[Path]:
    """A home that other tests have used before, for tests that leave it valid."""
    yield _used_home
    await until(lambda: not alive_in(_used_home), "all processes have ended")


@pytest.fixture
def make_home(area: Path, _used_home: Path) -> Callable[[str], Path]:
    """Copies a used home to a path in the area, for tests that damage it."""

    def make(name: str) -> Path:
        shutil.copytree(_used_home, area / name, symlinks=True)
        (area / name).chmod(0o700)
        return area / name

    return make


@pytest.fixture
def in_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root runs the servers in a user namespace."""
    _force("namespace", monkeypatch)


@pytest.fixture
def as_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root runs the servers as an unprivileged account, as if user namespaces were not allowed."""
    _force("account", monkeypatch)


@pytest.fixture(params=["namespace", "account"])
def as_root(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the modes in which root runs the servers."""
    return _force(request.param, monkeypatch)


def _force(mode: str, monkeypatch: pytest.MonkeyPatch) -> str:
    if os.geteuid() != 0:
        pytest.skip("only root runs the servers as another user")
    monkeypatch.setenv("CONVOSTORE_EMBEDDED_IDENTITY", mode)
    return mode
