"""Clients open, share and leave a home."""

# ruff: noqa: ASYNC240  these tests examine files and processes, and may block

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from convostore.embedded import EmbeddedError, open_embedded
from tests.embedded.helpers import holding, query, start_holder, valkey
from tests.processes import alive_in, ended, until


async def test_a_new_home_gets_both_servers_and_the_database(area: Path) -> None:
    async with open_embedded(area / "new" / "home") as engines:
        assert engines.home == area / "new" / "home"
        assert await query(engines.postgres_dsn, "SELECT current_database() || '/' || current_user") == (
            "convostore/postgres"
        )
        async with valkey(engines.redis_url) as client:
            assert await client.ping()
        assert {engines.postgres_pid, engines.valkey_pid} <= set(alive_in(area))
    assert alive_in(area) == {}


async def test_data_of_both_servers_survives_a_restart(home: Path) -> None:
    async with open_embedded(home) as engines:
        await query(engines.postgres_dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        async with valkey(engines.redis_url) as client:
            await client.set("kept", "42")
    async with open_embedded(home) as engines:
        assert await query(engines.postgres_dsn, "SELECT answer FROM kept") == 42
        async with valkey(engines.redis_url) as client:
            assert await client.get("kept") == b"42"


async def test_addresses_are_stable_across_a_restart(home: Path) -> None:
    async with open_embedded(home) as engines:
        before = (engines.postgres_dsn, engines.redis_url)
    async with open_embedded(home) as engines:
        assert (engines.postgres_dsn, engines.redis_url) == before


async def test_an_ephemeral_home_disappears(area: Path) -> None:
    async with open_embedded(ephemeral=True) as engines:
        assert await query(engines.postgres_dsn, "SELECT 1") == 1
        assert engines.home.parent == area
    assert list(area.iterdir()) == []


async def test_ephemeral_homes_are_not_shared(area: Path) -> None:
    async with (
        open_embedded(ephemeral=True, postgres=False) as one,
        open_embedded(ephemeral=True, postgres=False) as other,
    ):
        async with valkey(one.redis_url) as client:
            await client.set("mine", "1")
        async with valkey(other.redis_url) as client:
            assert await client.get("mine") is None


async def test_only_the_requested_servers_are_started(area: Path) -> None:
    async with open_embedded(ephemeral=True, postgres=False) as engines:
        assert engines.postgres_pid is None
        assert engines.valkey_pid is not None
        with pytest.raises(EmbeddedError, match="postgres=False"):
            _ = engines.postgres_dsn


async def test_a_second_process_shares_the_servers_and_keeps_them_when_the_first_leaves(home: Path) -> None:
    first = await start_holder(home)
    async with holding(home) as second:
        assert second.pids == first.pids
        await first.release()
        assert await query(second.facts["postgres_dsn"], "SELECT 1") == 1
        await second.release()
        await ended(*second.pids)


async def test_a_later_client_can_start_the_other_server(home: Path) -> None:
    async with open_embedded(home, postgres=False) as first, open_embedded(home) as second:
        assert second.valkey_pid == first.valkey_pid
        assert await query(second.postgres_dsn, "SELECT 1") == 1


async def test_a_process_can_open_a_home_while_the_last_client_leaves(home: Path) -> None:
    for _ in range(3):
        leaving = await start_holder(home, postgres=False)
        arriving = await start_holder(home, postgres=False, wait=False)
        await leaving.release()
        assert arriving.process.stdout is not None
        assert await arriving.process.stdout.readline() != b""
        await arriving.release()


@pytest.mark.parametrize("version", [16, 18])
async def test_text_is_ordered_by_code_point_and_pages_have_checksums(area: Path, version: int) -> None:
    async with open_embedded(ephemeral=True, postgres_version=version, valkey=False) as engines:
        assert str(await query(engines.postgres_dsn, "SHOW server_version")).startswith(f"{version}.")
        words = await query(
            engines.postgres_dsn, "SELECT string_agg(w, ' ' ORDER BY w) FROM unnest('{b,B,a,Z,é,z,Ü}'::text[]) AS w"
        )
        assert words == "B Z a b z Ü é"
        assert await query(engines.postgres_dsn, "SELECT lower('ÄÉ')") == "äé"
        assert await query(engines.postgres_dsn, "SHOW data_checksums") == "on"
        assert await query(engines.postgres_dsn, "SHOW server_encoding") == "UTF8"
        assert await query(engines.postgres_dsn, "SHOW listen_addresses") == ""
        await query(engines.postgres_dsn, "CREATE EXTENSION vector")
        assert await query(engines.postgres_dsn, "SELECT '[1,2]'::vector <=> '[1,2]'::vector") == 0.0


async def test_valkey_has_an_append_only_file_and_never_evicts(home: Path) -> None:
    async with open_embedded(home, postgres=False) as engines, valkey(engines.redis_url) as client:
        settings = await client.config_get("append*", "maxmemory-policy", "save", "port", "unixsocketperm")
        assert settings["appendonly"] == "yes"
        assert settings["appendfsync"] == "everysec"
        assert settings["maxmemory-policy"] == "noeviction"
        assert settings["port"] == "0"
        assert settings["unixsocketperm"] == "700"


async def test_a_data_directory_of_another_major_version_is_refused(home: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"was created by PostgreSQL 18 and cannot be opened by 16"):
        async with open_embedded(home, postgres_version=16):
            pass
    async with open_embedded(home) as engines:
        assert await query(engines.postgres_dsn, "SELECT 1") == 1


async def test_another_version_is_refused_while_one_runs(home: Path) -> None:
    async with open_embedded(home, valkey=False) as engines:
        with pytest.raises(EmbeddedError, match="PostgreSQL 18 runs in this home"):
            async with open_embedded(home, postgres_version=16):
                pass
        assert await query(engines.postgres_dsn, "SELECT 1") == 1


async def test_a_start_that_takes_too_long_ends_with_an_error_and_leaves_nothing(area: Path) -> None:
    with pytest.raises(EmbeddedError, match="not ready after"):
        async with open_embedded(area / "home", start_timeout=0.3):
            pass
    assert alive_in(area) == {}


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1, 0.2, 0.5])
async def test_a_cancelled_start_leaves_nothing(area: Path, delay: float) -> None:
    async def opening() -> None:
        async with open_embedded(area / "home"):
            pytest.fail("was not cancelled in time")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(opening(), delay)
    await until(lambda: not alive_in(area), "all processes have ended")


async def test_contradicting_arguments_are_refused(area: Path) -> None:
    for arguments in (
        {},
        {"home": area, "ephemeral": True},
        {"ephemeral": True, "postgres": False, "valkey": False},
        {"ephemeral": True, "postgres_version": 17},
    ):
        with pytest.raises(ValueError, match=r"home|nothing|16 or 18"):
            async with open_embedded(**arguments):
                pass
