"""Clients, supervisor and servers are killed, while idle and at every stage of a start; no process is orphaned."""

# ruff: noqa: ASYNC240  these tests examine files and processes, and may block

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from convostore.embedded import EmbeddedError, open_embedded
from tests.embedded.helpers import holding, query, start_holder, valkey
from tests.processes import alive_in, ended, kill, until


async def test_the_servers_end_when_their_only_client_is_killed(home: Path) -> None:
    holder = await start_holder(home)
    await holder.kill()
    await ended(*holder.pids)


async def test_an_ephemeral_home_is_removed_when_its_client_is_killed(area: Path) -> None:
    holder = await start_holder(ephemeral=True)
    await holder.kill()
    await ended(*holder.pids)
    assert list(area.iterdir()) == []


async def test_the_servers_stay_up_when_one_of_two_clients_is_killed(home: Path) -> None:
    async with open_embedded(home) as engines:
        victim = await start_holder(home)
        await victim.kill()
        assert await query(engines.postgres_dsn, "SELECT 1") == 1
        assert engines.supervisor_pid == victim.facts["supervisor_pid"]


async def test_both_servers_die_with_a_killed_supervisor_and_the_next_start_works(home: Path) -> None:
    async with holding(home) as holder:
        await query(holder.facts["postgres_dsn"], "CREATE TABLE before AS SELECT 1 AS one")
        async with valkey(holder.facts["redis_url"]) as client:
            await client.set("before", "1")
        kill(holder.facts["supervisor_pid"])
        await ended(*holder.pids)
        async with open_embedded(home) as engines:
            assert await query(engines.postgres_dsn, "SELECT one FROM before") == 1
            async with valkey(engines.redis_url) as client:
                assert await client.get("before") == b"1"


async def test_a_client_is_told_that_its_supervisor_has_exited(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_embedded(home, postgres=False) as engines:
        assert engines.valkey_pid is not None
        kill(engines.supervisor_pid)
        with pytest.raises(EmbeddedError, match="has exited"):
            await engines.wait_ready(without=engines.valkey_pid)
        assert engines.valkey_pid is None
        async with open_embedded(home, postgres=False) as again:
            await again.wait_ready()
    assert [record.message for record in caplog.records if record.name == "convostore.embedded"] == [
        "embedded supervisor lost"
    ]


async def test_the_next_start_removes_an_ephemeral_home_that_a_killed_supervisor_left(area: Path) -> None:
    holder = await start_holder(ephemeral=True)
    kill(holder.facts["supervisor_pid"], holder.process.pid)
    await holder.process.wait()
    await ended(*holder.pids)
    assert Path(holder.facts["home"]).exists()
    async with open_embedded(ephemeral=True, postgres=False):
        assert not Path(holder.facts["home"]).exists()
    assert list(area.iterdir()) == []


async def test_a_killed_postgres_is_restarted_with_its_data_at_the_same_address(home: Path) -> None:
    async with open_embedded(home) as engines:
        await query(engines.postgres_dsn, "CREATE TABLE acknowledged AS SELECT 7 AS n")
        for _ in range(2):
            killed = engines.postgres_pid
            assert killed is not None
            kill(killed)
            await engines.wait_ready(without=killed)
            assert await query(engines.postgres_dsn, "SELECT n FROM acknowledged") == 7


async def test_a_killed_valkey_is_restarted_with_every_acknowledged_write(home: Path) -> None:
    async with open_embedded(home, postgres=False) as engines:
        async with valkey(engines.redis_url) as client:
            for number in range(500):
                await client.rpush("written", number)
        killed = engines.valkey_pid
        assert killed is not None
        kill(killed)
        await engines.wait_ready(without=killed)
        async with valkey(engines.redis_url) as client:
            assert await client.llen("written") == 500


async def test_postgres_is_restarted_although_a_busy_backend_has_not_noticed_the_crash(home: Path) -> None:
    async with open_embedded(home, valkey=False) as engines:
        connection = await asyncpg.connect(dsn=engines.postgres_dsn)
        busy = asyncio.create_task(connection.execute("SELECT sum(sqrt(n)) FROM generate_series(1, 1000000000) AS n"))
        backend = connection.get_server_pid()
        await until(lambda: _state(backend) == "R", "the backend computes")
        killed = engines.postgres_pid
        assert killed is not None
        kill(killed)
        await engines.wait_ready(without=killed)
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            await busy
        assert await query(engines.postgres_dsn, "SELECT 1") == 1


async def test_the_next_start_ends_a_stopped_postgres_that_outlived_its_supervisor(home: Path) -> None:
    async with holding(home, valkey=False) as holder:
        frozen = holder.facts["postgres_pid"]
        os.kill(frozen, signal.SIGSTOP)
        kill(holder.facts["supervisor_pid"])
        await ended(holder.facts["supervisor_pid"])
        assert frozen in alive_in(home)
        async with open_embedded(home) as engines:
            assert await query(engines.postgres_dsn, "SELECT 1") == 1
            assert frozen not in alive_in(home)


async def test_stopped_servers_end_with_the_block(home: Path) -> None:
    async with open_embedded(home) as engines:
        assert engines.postgres_pid is not None
        assert engines.valkey_pid is not None
        os.kill(engines.postgres_pid, signal.SIGSTOP)
        os.kill(engines.valkey_pid, signal.SIGSTOP)
    assert alive_in(home) == {}


async def test_a_terminated_supervisor_stops_its_servers_cleanly(home: Path) -> None:
    async with holding(home) as holder:
        logged_before = len((home / "log" / "postgres.log").read_text())
        os.kill(holder.facts["supervisor_pid"], signal.SIGTERM)
        await ended(*holder.pids)
    assert "database system is shut down" in (home / "log" / "postgres.log").read_text()[logged_before:]


STAGES: dict[str, Callable[[Path], object]] = {
    "owns the home": lambda home: (home / "supervisor.json").exists(),
    "initdb runs": lambda home: any(home.glob("postgres.new-*/base/1")),
    "cluster created": lambda home: (home / "postgres").exists(),
    "postgres starts": lambda home: (home / "postgres" / "postmaster.pid").exists(),
}


@pytest.mark.parametrize("stage", STAGES)
async def test_a_kill_during_the_first_start_leaves_no_process_and_no_incomplete_cluster(
    area: Path, stage: str
) -> None:
    await asyncio.gather(
        *(_kill_and_open_again(area / victim, victim, STAGES[stage]) for victim in ("client", "supervisor"))
    )


async def _kill_and_open_again(home: Path, victim: str, stage: Callable[[Path], object]) -> None:
    holder = await start_holder(home, wait=False)
    await until(lambda: stage(home), "the stage is reached")
    if victim == "supervisor":
        kill(*(pid for pid, arguments in alive_in(home).items() if "convostore supervisor of" in arguments))
    await holder.kill()
    await until(lambda: not alive_in(home), "all processes have ended")
    async with open_embedded(home) as engines:
        assert await query(engines.postgres_dsn, "SELECT current_database()") == "convostore"
    assert not list(home.glob("postgres.new-*"))


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
