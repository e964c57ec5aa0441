"""A private area for every test, in which no process, socket or ephemeral home may be left when the test is over."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from convostore.embedded import open_embedded
from tests.embedded.helpers import alive_in, until

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]


@pytest.fixture
async def area(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """A short directory for homes and sockets that the servers can enter in every mode."""
    with _directory() as path:
        monkeypatch.setenv("TMPDIR", str(path))
        monkeypatch.setattr(tempfile, "tempdir", str(path))
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        yield path
        await until(lambda: not alive_in(path), "all processes have ended")
        assert [entry for entry in os.listdir(path) if entry.startswith("convostore-")] == []


@contextmanager
def _directory() -> Iterator[Path]:
    # Memory where there is enough of it: these tests make and copy data directories all the time.
    shared = "/dev/shm"
    roomy = os.path.isdir(shared) and shutil.disk_usage(shared).free > 1 << 30
    path = Path(tempfile.mkdtemp(prefix="cs-", dir=shared if roomy else "/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
async def _used_home() -> AsyncIterator[Path]:
    with _directory() as path:
        async with open_embedded(path / "home"):
            pass
        yield path / "home"


@pytest.fixture
async def home(area: Path, _used_home: Path) -> AsyncIterator[Path]:
    """A home that has been used before, by other tests too: for tests that treat it as a user would."""
    yield _used_home
    await until(lambda: not alive_in(_used_home), "all processes have ended")


@pytest.fixture
def make_home(area: Path, _used_home: Path) -> Callable[[str], Path]:
    """Makes a home that has been used before at a path in the area, for tests that tamper with it."""

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
    """Each of the ways in which root runs the servers."""
    return _force(request.param, monkeypatch)


def _force(mode: str, monkeypatch: pytest.MonkeyPatch) -> str:
    if os.geteuid() != 0:
        pytest.skip("only root runs the servers as somebody else")
    monkeypatch.setenv("CONVOSTORE_EMBEDDED_IDENTITY", mode)
    return mode
