"""A home has one owner, whatever pid files say and however many processes start concurrently."""

# ruff: noqa: ASYNC220, ASYNC240  these tests examine files and processes, and may block

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convostore.embedded import EmbeddedError, open_embedded
from convostore.embedded.binaries import postgres_programs
from convostore.embedded.supervisor.identity import choose
from tests.embedded.helpers import Holder, query, start_holder, valkey
from tests.processes import alive_in, ended, until


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """An unrelated process of the same user."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        assert process.poll() is None, "the bystander was killed"
        process.kill()


async def test_a_postmaster_pid_file_with_a_reused_pid_does_not_prevent_a_start(
    make_home: Callable[[str], Path], bystander: subprocess.Popen[bytes]
) -> None:
    home = make_home("home")
    (home / "postgres" / "postmaster.pid").write_text(
        f"{bystander.pid}\n{home / 'postgres'}\n1700000000\n5432\n/tmp\n\n  5432001  32768\nready   \n"
    )
    async with open_embedded(home, valkey=False) as engines:
        assert await query(engines.postgres_dsn, "SELECT 1") == 1
        assert engines.postgres_pid != bystander.pid


async def test_a_record_with_a_reused_pid_does_not_prevent_a_start(
    home: Path, area: Path, bystander: subprocess.Popen[bytes]
) -> None:
    found = home.stat()
    record = {
        "token": "0" * 32,
        "control": str(area / "gone" / "control.sock"),
        "home_id": [found.st_dev, found.st_ino],
        "pid": bystander.pid,
    }
    (home / "supervisor.json").write_text(json.dumps(record))
    async with open_embedded(home, postgres=False) as engines:
        assert engines.supervisor_pid != bystander.pid


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"control": 1, "token": 2}', "\0"])
async def test_a_damaged_record_does_not_prevent_a_start(home: Path, content: str) -> None:
    (home / "supervisor.json").write_text(content)
    async with open_embedded(home, postgres=False) as engines:
        assert engines.valkey_pid is not None


async def test_a_record_copied_from_another_home_does_not_lead_to_that_homes_servers(
    make_home: Callable[[str], Path],
) -> None:
    one, other = make_home("one"), make_home("other")
    async with open_embedded(one, postgres=False) as original:
        (other / "supervisor.json").write_bytes((one / "supervisor.json").read_bytes())
        async with open_embedded(other, postgres=False) as copy:
            assert copy.valkey_pid != original.valkey_pid
            assert copy.home == other


async def test_eight_processes_that_start_concurrently_on_a_new_home_share_one_pair_of_servers(area: Path) -> None:
    home = area / "home"
    holders = await _start_all([home] * 8)
    assert len({tuple(holder.pids) for holder in holders}) == 1
    assert sum("postgres -D" in arguments for arguments in alive_in(home).values()) == 1
    for holder in holders:
        await query(holder.facts["postgres_dsn"], "CREATE TABLE IF NOT EXISTS joint (n int)")
    await asyncio.gather(*(holder.release() for holder in holders))
    await ended(*holders[0].pids)


async def test_processes_that_start_concurrently_on_different_homes_each_reach_their_own(area: Path) -> None:
    homes = [area / f"home{number}" for number in range(4)]
    holders = await _start_all([home for home in homes for _ in range(2)], postgres=False)
    for holder, home in zip(holders, [home for home in homes for _ in range(2)], strict=True):
        assert holder.facts["home"] == str(home)
        async with valkey(holder.facts["redis_url"]) as client:
            assert Path(str((await client.config_get("dir"))["dir"])) == home / "valkey"
            await client.rpush("visitors", holder.process.pid)
    for holder in holders:
        async with valkey(holder.facts["redis_url"]) as client:
            assert await client.llen("visitors") == 2
    await asyncio.gather(*(holder.release() for holder in holders))


async def test_a_home_reached_by_two_paths_has_one_owner(home: Path, area: Path) -> None:
    (area / "link").symlink_to(home)
    async with open_embedded(home, postgres=False) as one, open_embedded(area / "link", postgres=False) as two:
        assert one.supervisor_pid == two.supervisor_pid


async def test_a_home_that_was_replaced_is_another_home(make_home: Callable[[str], Path], area: Path) -> None:
    home = make_home("home")
    async with open_embedded(home, postgres=False) as old:
        home.rename(area / "moved")
        make_home("home")
        async with open_embedded(home, postgres=False) as new:
            assert new.valkey_pid != old.valkey_pid


async def test_a_foreign_postgres_in_the_data_directory_is_reported_and_left_alone(
    make_home: Callable[[str], Path], area: Path
) -> None:
    home = make_home("home")
    program = postgres_programs(18) / "postgres"
    arguments = [str(part) for part in (program, "-D", home / "postgres", "-c", "listen_addresses=", "-k", area)]
    as_allowed = choose().preexec(os.getpid(), signal.SIGQUIT)
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL, preexec_fn=as_allowed) as by_hand:
        await until((area / ".s.PGSQL.5432").exists, "the server started by hand listens")
        try:
            with pytest.raises(EmbeddedError, match=rf"another PostgreSQL \(pid {by_hand.pid}\)"):
                async with open_embedded(home, valkey=False):
                    pass
            assert by_hand.poll() is None
            assert (home / "postgres" / "postmaster.pid").exists()
        finally:
            by_hand.terminate()


async def _start_all(homes: list[Path], **options: bool) -> list[Holder]:
    return await asyncio.gather(*(start_holder(home, **options) for home in homes))
