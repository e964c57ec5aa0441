"""PostgreSQL refuses to run as root: the servers of root run in a user namespace or as an unprivileged account."""

# ruff: noqa: ASYNC240  these tests examine files and processes, and may block

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from convostore.embedded import EmbeddedError, open_embedded
from tests.embedded.helpers import query, start_holder, valkey
from tests.processes import ended


async def test_root_gets_servers_without_privileges(make_home: Callable[[str], Path], as_root: str) -> None:
    async with open_embedded(make_home("home")) as engines:
        assert await query(engines.postgres_dsn, "SELECT 1") == 1
        async with valkey(engines.redis_url) as client:
            assert await client.ping()
        for pid in (engines.postgres_pid, engines.valkey_pid):
            status = _status(pid)
            expected = os.geteuid() if as_root == "namespace" else 65534
            assert [int(uid) for uid in status["Uid"].split()] == [expected] * 4
            assert int(status["CapEff"], 16) == 0


async def test_root_owns_the_files_in_a_namespace_and_nothing_is_chowned(area: Path, in_namespace: None) -> None:
    async with open_embedded(area / "home") as engines:
        for folder, folders, names in os.walk(engines.home):
            for name in (*folders, *names):
                assert os.lstat(os.path.join(folder, name)).st_uid == os.geteuid(), name


async def test_only_the_data_directories_change_owner_for_an_account(area: Path, as_account: None) -> None:
    above = area / "above"
    async with open_embedded(above / "home") as engines:
        assert (above.stat().st_uid, above.stat().st_mode & 0o777) == (0, 0o755)
        assert (engines.home.stat().st_uid, engines.home.stat().st_mode & 0o777) == (0, 0o710)
        owners = {entry.name: entry.stat().st_uid for entry in engines.home.iterdir()}
        assert {name for name, owner in owners.items() if owner != 0} == {"postgres", "valkey"}
        # The group, which has no other member, excludes other processes of the same uid.
        assert os.stat(engines.home).st_gid == os.stat(engines.home / "postgres").st_gid > 60000


async def test_no_account_is_created(make_home: Callable[[str], Path], as_root: str) -> None:
    before = [Path(name).read_bytes() for name in ("/etc/passwd", "/etc/group")]
    async with open_embedded(make_home("home"), valkey=False):
        pass
    assert [Path(name).read_bytes() for name in ("/etc/passwd", "/etc/group")] == before


async def test_the_servers_die_with_a_killed_supervisor(make_home: Callable[[str], Path], as_root: str) -> None:
    home = make_home("home")
    holder = await start_holder(home)
    os.kill(holder.facts["supervisor_pid"], 9)
    await ended(*holder.pids)
    await holder.kill()
    async with open_embedded(home) as engines:
        assert await query(engines.postgres_dsn, "SELECT 1") == 1


async def test_a_home_created_in_one_mode_opens_in_the_other(
    make_home: Callable[[str], Path], as_account: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home("home")
    for mode in ("account", "namespace", "account"):
        monkeypatch.setenv("CONVOSTORE_EMBEDDED_IDENTITY", mode)
        async with open_embedded(home) as engines:
            await query(engines.postgres_dsn, "CREATE TABLE IF NOT EXISTS kept (n int)")
            async with valkey(engines.redis_url) as client:
                await client.incr("openings")
    async with open_embedded(home, postgres=False) as engines, valkey(engines.redis_url) as client:
        assert await client.get("openings") == b"3"


async def test_a_home_that_the_account_cannot_reach_is_an_error_that_names_the_directory(
    area: Path, as_account: None
) -> None:
    closed = area / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedError, match=rf"cannot enter {closed};"):
        async with open_embedded(closed / "home"):
            pass
    assert closed.stat().st_mode & 0o777 == 0o700


async def test_temporary_directories_that_the_account_cannot_reach_are_skipped(
    area: Path, as_account: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = area / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(closed))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(closed))
    async with open_embedded(ephemeral=True, postgres=False) as engines, valkey(engines.redis_url) as client:
        assert await client.ping()
        assert engines.home.parent == Path("/tmp")
    assert list(closed.iterdir()) == []
    assert not engines.home.exists()


async def test_a_private_directory_of_root_is_accessible_in_a_namespace(
    area: Path, in_namespace: None, make_home: Callable[[str], Path]
) -> None:
    closed = area / "closed"
    closed.mkdir(mode=0o700)
    async with open_embedded(make_home("closed/home")) as engines:
        assert await query(engines.postgres_dsn, "SELECT 1") == 1


def _status(pid: int | None) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
