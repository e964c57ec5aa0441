"""A home may have any path; data and sockets are accessible to this user alone."""

# ruff: noqa: ASYNC221, ASYNC240  these tests examine files and processes, and may block

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from convostore.embedded import EmbeddedError, open_embedded
from tests.embedded.helpers import query, valkey

ODD = 'it\'s "quoted", 50% off #1 ?a=b&c\\ $HOME `id` дом\n'


@pytest.mark.parametrize("name", [ODD, "x" * 120], ids=["odd", "long"])
async def test_a_home_may_have_any_path(area: Path, name: str) -> None:
    async with open_embedded(area / name / "home") as engines:
        assert await query(engines.postgres_dsn, "SHOW data_directory") == str(area / name / "home" / "postgres")
        async with valkey(engines.redis_url) as client:
            assert await client.set("a", "1")
    assert (area / name / "home" / "valkey" / "appendonlydir").is_dir()


@pytest.mark.parametrize("name", [ODD, "x" * 120], ids=["odd", "long"])
async def test_a_temporary_directory_may_have_any_path(area: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (area / name).mkdir(mode=0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(area / name))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(area))
    area.chmod(0o700)
    async with open_embedded(ephemeral=True, postgres=False) as engines, valkey(engines.redis_url) as client:
        assert engines.home.parent == area / name
        assert await client.ping()


async def test_the_environment_of_the_caller_does_not_reach_the_servers(
    area: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGDATA": "/nowhere", "PGPORT": "1", "LC_ALL": "xx_XX", "PGOPTIONS": "-c port=9"}.items():
        monkeypatch.setenv(name, value)
    async with open_embedded(ephemeral=True, valkey=False) as engines:
        monkeypatch.delenv("PGOPTIONS")
        assert await query(engines.postgres_dsn, "SHOW lc_messages") == "C"
        assert await query(engines.postgres_dsn, "SHOW timezone") == "UTC"


async def test_data_and_sockets_are_private(home: Path, area: Path) -> None:
    async with open_embedded(home) as engines:
        runtime = _runtime_directory(area)
        for private in (engines.home, engines.home / "postgres", engines.home / "valkey", engines.home / "log"):
            assert _mode(private) == 0o700, private
        assert _mode(runtime) == _mode(runtime / "s") == 0o700
        for name in ("control.sock", "s/.s.PGSQL.5432", "s/valkey.sock"):
            assert stat.S_ISSOCK((runtime / name).lstat().st_mode)
            assert _mode(runtime / name) == 0o700, name


async def test_no_port_is_open(home: Path) -> None:
    async with open_embedded(home) as engines:
        for pid in (engines.postgres_pid, engines.valkey_pid):
            sockets = {link for link in _links(Path(f"/proc/{pid}/fd")) if link.startswith("socket:")}
            listening = Path(f"/proc/{pid}/net/tcp").read_text() + Path(f"/proc/{pid}/net/tcp6").read_text()
            inodes = {f"socket:[{line.split()[9]}]" for line in listening.splitlines() if line.split()[3] == "0A"}
            assert not sockets & inodes


async def test_parents_of_the_home_are_not_changed(area: Path) -> None:
    above = area / "above"
    above.mkdir(mode=0o755)
    before = [
        (path, path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in (above, area, Path("/tmp"))
    ]
    async with open_embedded(above / "home", postgres=False):
        pass
    assert [(path, path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path, *_ in before] == before


async def test_an_existing_home_keeps_its_mode(area: Path) -> None:
    (area / "home").mkdir()
    (area / "home").chmod(0o755)
    async with open_embedded(area / "home", postgres=False):
        assert _mode(area / "home") == 0o755


async def test_a_world_writable_home_is_refused(area: Path) -> None:
    (area / "home").mkdir()
    (area / "home").chmod(0o1777)
    with pytest.raises(EmbeddedError, match="everybody can write"):
        async with open_embedded(area / "home"):
            pass


async def test_a_home_of_another_user_is_refused(area: Path) -> None:
    if os.geteuid() == 0:
        (area / "home").mkdir()
        os.chown(area / "home", 65534, 65534)
        home = area / "home"
    else:
        home = Path("/usr")
    with pytest.raises(EmbeddedError, match="belongs to uid"):
        async with open_embedded(home):
            pass


async def test_a_home_that_is_a_file_is_refused(area: Path) -> None:
    (area / "home").write_text("")
    with pytest.raises(EmbeddedError, match="Not a directory"):
        async with open_embedded(area / "home"):
            pass


@pytest.mark.parametrize("kind", ["a link", "a file", "a directory of another user"])
async def test_a_runtime_directory_that_another_user_prepared_is_not_used(home: Path, area: Path, kind: str) -> None:
    async with open_embedded(home, postgres=False):
        taken = _runtime_directory(area)
    if kind == "a link":
        (area / "elsewhere").mkdir(mode=0o700)
        taken.symlink_to(area / "elsewhere")
    elif kind == "a file":
        taken.write_text("")
    else:
        if os.geteuid() != 0:
            pytest.skip("only root can make a directory of another user")
        taken.mkdir(mode=0o777)
        os.chown(taken, 65534, 65534)
    async with open_embedded(home, postgres=False) as engines, valkey(engines.redis_url) as client:
        assert await client.ping()
        assert str(taken) + "/" not in engines.redis_url
    taken.rmdir() if taken.is_dir() and not taken.is_symlink() else taken.unlink()


async def test_other_users_cannot_open_the_sockets(home: Path, area: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can connect as another user; the modes are checked above")
    program = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for path in sys.argv[1:]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
    except PermissionError:
        continue
    sys.exit(path + " is open")
"""
    async with open_embedded(home):
        runtime = _runtime_directory(area)
        sockets = [runtime / name for name in ("control.sock", "s/.s.PGSQL.5432", "s/valkey.sock")]
        for path in sockets:
            with socket.socket(socket.AF_UNIX) as ours:
                ours.connect(str(path))
        result = subprocess.run([sys.executable, "-c", program, *sockets], capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, "")


def _runtime_directory(area: Path) -> Path:
    (found,) = area.glob("convostore-run-*")
    return found


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def _links(folder: Path) -> list[str]:
    return [os.readlink(entry) for entry in folder.iterdir()]
