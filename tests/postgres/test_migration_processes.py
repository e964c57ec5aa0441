"""Migrations in processes of their own: many at once, killed anywhere, and beside other traffic."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from convostore.embedded import Embedded
from convostore.errors import ConnectionError
from convostore.postgres import PostgresConfigStore, migrate, schema_version
from convostore.postgres import migrations as module
from convostore.testing.factories import make_agent
from tests.postgres.blocking import blocking, single, waiting
from tests.postgres.catalogue import catalogue
from tests.postgres.databases import connected, fresh_database

STEPS = """
CREATE SEQUENCE public.step;
GRANT ALL ON SEQUENCE public.step TO PUBLIC;
CREATE FUNCTION public.stop_at() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('public.step') = current_setting('convostore.stop_at')::bigint THEN
        PERFORM pg_advisory_xact_lock_shared(7);
    END IF;
END
$$;
CREATE EVENT TRIGGER stop_at ON ddl_command_end EXECUTE FUNCTION public.stop_at();
"""
"""Counts the statements that change the schema, and stops at one of them for as long as somebody holds lock 7."""


@pytest.fixture
async def empty(engines: Embedded) -> AsyncIterator[str]:
    """The DSN of an empty database."""
    async with fresh_database(engines.postgres_dsn) as dsn:
        yield dsn


async def migrating(dsn: str) -> Process:
    """Start a process that migrates a database."""
    program = "import asyncio, sys; from convostore.postgres import migrate; asyncio.run(migrate(sys.argv[1]))"
    return await asyncio.create_subprocess_exec(sys.executable, "-c", program, dsn, stderr=PIPE)


async def succeed(process: Process) -> None:
    """Wait for a process to end well."""
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


async def snapshot(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return the catalogue of a database."""
    async with connected(dsn) as connection:
        return await catalogue(connection)


async def test_eight_processes_at_once_end_in_one_whole_schema(engines: Embedded, empty: str) -> None:
    await asyncio.gather(*[succeed(process) for process in [await migrating(empty) for _ in range(8)]])
    async with fresh_database(engines.postgres_dsn) as other:
        await migrate(other)
        assert await snapshot(empty) == await snapshot(other)


async def test_a_process_may_be_killed_in_the_middle_of_any_step(engines: Embedded, empty: str) -> None:
    async with fresh_database(engines.postgres_dsn) as other, connected(other) as admin:
        await admin.execute(STEPS)
        await admin.execute(f'ALTER DATABASE "{other.rpartition("/")[2].partition("?")[0]}" SET convostore.stop_at = 0')
        await migrate(other)
        # What stands outside the schema, the extension above all, stays when the rest is undone.
        await migrate(other, "base")
        await admin.execute("SELECT setval('public.step', 1, false)")
        await migrate(other)
        steps = await admin.fetchval("SELECT last_value FROM public.step")
        await admin.execute("DROP EVENT TRIGGER stop_at; DROP FUNCTION public.stop_at; DROP SEQUENCE public.step")
        whole = await snapshot(other)
    assert steps > 50
    database = empty.rpartition("/")[2].partition("?")[0]
    async with connected(empty) as admin, connected(empty) as holder:
        await admin.execute(STEPS)
        for step in (1, steps // 3, 2 * steps // 3, steps):
            await admin.execute(f'ALTER DATABASE "{database}" SET convostore.stop_at = {step}')
            await admin.execute("SELECT setval('public.step', 1, false)")
            await holder.execute("SELECT pg_advisory_lock(7)")
            process = await migrating(empty)
            backend = await stopped(admin, process)
            process.kill()
            await process.wait()
            await holder.execute("SELECT pg_advisory_unlock(7)")
            async with asyncio.timeout(20):
                while await admin.fetchval("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", backend):
                    pass
            assert await schema_version(empty) == "base"
        await admin.execute("DROP EVENT TRIGGER stop_at; DROP FUNCTION public.stop_at; DROP SEQUENCE public.step")
    await succeed(await migrating(empty))
    assert await snapshot(empty) == whole


async def stopped(admin: Any, process: Process) -> int:
    """Return the backend that waits for lock 7, once one does."""
    async with asyncio.timeout(60):
        while process.returncode is None:
            query = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted"
            if pid := await admin.fetchval(query):
                return int(pid)
    _, errors = await process.communicate()
    raise AssertionError(f"the process ended before it came to the step: {errors.decode()}")


async def test_traffic_waits_no_longer_than_the_migration_may_wait_for_its_lock(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOCK_TIMEOUT", "2s")
    await migrate(empty)
    tenant = uuid4()
    agent = make_agent(tenant)
    async with connected(empty) as admin, single(empty) as (pool, pid):
        store = PostgresConfigStore(pool, timeout=60)
        await store.save_agent(agent)
        # Somebody reads and never ends: the migration cannot have its lock, and whoever reads now waits behind it.
        async with blocking(empty, "SELECT FROM convostore.agent"):
            down = asyncio.create_task(migrate(empty, "base"))
            async with asyncio.timeout(60):
                while not await admin.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
                    pass
            reading = asyncio.create_task(store.get_agent(tenant, agent.id))
            await waiting(admin, pid)
            assert await reading == agent
            with pytest.raises(ConnectionError) as late:
                await down
            assert (late.value.retryable, late.value.outcome) == (True, "not_applied")
        assert await schema_version(empty) == module.HEAD
        assert await store.get_agent(tenant, agent.id) == agent
    await migrate(empty, "base")
