"""Migrations by real processes: many at once, killed anywhere, and beside traffic."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from shutil import copytree
from typing import Any
from uuid import uuid4

import pytest

from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.embedded import Embedded
from convostore.errors import ConnectionError
from convostore.postgres import PostgresSessionStore, create_pool, migrate, schema_version
from convostore.postgres import migrations as module
from convostore.postgres.migrations import scripts
from convostore.testing.factories import make_session
from tests.postgres import migrating
from tests.postgres.blocking import blocking, gone
from tests.postgres.databases import connected, fresh_database
from tests.postgres.filled import fill
from tests.postgres.test_migrations import snapshot

pytestmark = pytest.mark.slow

Run = Callable[..., Any]

MORE = """-- Sessions have one more column.
-- phase: expand
-- compatible: 0001

-- up

ALTER TABLE convostore.session ADD COLUMN more text;

-- down

ALTER TABLE convostore.session DROP COLUMN more;
"""
"""A migration of a table that is in use."""

STRIDE = 29
"""How many statements lie between two places in which an upgrade is killed; 1 is every place, in a minute."""


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

WAITS = """
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation = 'convostore.session'::regclass)
"""


@pytest.fixture
async def empty(engines: Embedded) -> AsyncIterator[str]:
    """The DSN of an empty database."""
    async with fresh_database(engines.postgres_dsn) as dsn:
        yield dsn


@asynccontextmanager
async def processes(dsn: str, revision: str) -> AsyncIterator[Run]:
    """Yield what runs processes that migrate, each up to so many statements, and returns their exit codes."""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, migrating.__file__, dsn, revision), stdin=PIPE, stdout=PIPE
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    stdin, stdout = parent.stdin, parent.stdout

    async def run(*statements: int) -> list[int]:
        stdin.write(f"{json.dumps(statements)}\n".encode())
        codes: list[int] = json.loads(await stdout.readline())
        return codes

    try:
        yield run
    finally:
        stdin.close()
        await parent.wait()


async def rows(dsn: str) -> dict[str, int]:
    """Return how many rows each table has."""
    async with connected(dsn) as connection:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'convostore'")
        return {name: await connection.fetchval(f"SELECT count(*) FROM convostore.{name}") for (name,) in tables}


async def fill_migrated(dsn: str) -> None:
    """Migrate a database and store one of everything."""
    await migrate(dsn)
    async with await create_pool(dsn) as pool:
        await fill(pool)


def is_nothing(found: dict[str, int]) -> bool:
    """Return whether there are no tables but the one of versions, which has none."""
    return found in ({}, {"alembic_version": 0})


async def test_eight_processes_at_once_end_in_one_whole_schema_and_in_none(engines: Embedded, empty: str) -> None:
    async with processes(empty, "head") as run:
        assert await run(*[0] * 8) == [0] * 8
    async with fresh_database(engines.postgres_dsn) as other:
        await migrate(other)
        assert await snapshot(empty) == await snapshot(other)
    async with processes(empty, "base") as run:
        assert await run(*[0] * 8) == [0] * 8
    assert is_nothing(await rows(empty))


async def test_an_upgrade_that_is_killed_anywhere_leaves_all_or_nothing_and_can_be_run_again(
    engines: Embedded, empty: str
) -> None:
    states = {}
    async with fresh_database(engines.postgres_dsn) as other:
        for version in module.VERSIONS[1:]:
            await migrate(other, version)
            states[version] = await snapshot(other)
    seen = set()
    async with processes(empty, "head") as run:
        for statements in count(1, STRIDE):
            (code,) = await run(statements)
            version = await schema_version(empty)
            if version == module.HEAD:
                break
            assert code == -signal.SIGKILL
            assert is_nothing(await rows(empty)) if version == "base" else await snapshot(empty) == states[version]
            seen.add(statements)
        assert await run(0) == [0]
    assert len(seen) > 4
    assert await snapshot(empty) == states[module.HEAD]


async def test_a_downgrade_that_is_killed_anywhere_leaves_all_data_or_nothing_and_can_be_run_again(
    engines: Embedded, empty: str
) -> None:
    states = {}
    async with fresh_database(engines.postgres_dsn) as other:
        await fill_migrated(other)
        for version in reversed(module.VERSIONS[1:]):
            await migrate(other, version)
            states[version] = await snapshot(other), await rows(other)
    await fill_migrated(empty)
    assert sum(number > 0 for number in (await rows(empty)).values()) > 20
    seen = set()
    async with processes(empty, "base") as run:
        for statements in count(1):
            (code,) = await run(statements)
            version = await schema_version(empty)
            if version == "base":
                break
            assert code == -signal.SIGKILL
            assert (await snapshot(empty), await rows(empty)) == states[version]
            seen.add(statements)
        assert await run(0) == [0]
    assert len(seen) > 4
    assert is_nothing(await rows(empty))
    await migrate(empty)
    assert await snapshot(empty) == states[module.HEAD][0]


async def test_a_process_may_be_killed_while_a_statement_runs(engines: Embedded, empty: str) -> None:
    async with fresh_database(engines.postgres_dsn) as other:
        await migrate(other)
        whole = await snapshot(other)
    database = empty.rpartition("/")[2].partition("?")[0]
    async with connected(empty) as admin, connected(empty) as holder:
        await admin.execute(STEPS)
        for step in (10, 100):
            await admin.execute(f'ALTER DATABASE "{database}" SET convostore.stop_at = {step}')
            await admin.execute("SELECT setval('public.step', 1, false)")
            await holder.execute("SELECT pg_advisory_lock(7)")
            process = await started(empty)
            backend = await stopped(admin, process)
            process.kill()
            await process.wait()
            await holder.execute("SELECT pg_advisory_unlock(7)")
            await gone(admin, backend)
            assert is_nothing(await rows(empty))
        await admin.execute("DROP EVENT TRIGGER stop_at; DROP FUNCTION public.stop_at; DROP SEQUENCE public.step")
    await migrate(empty)
    assert await snapshot(empty) == whole


async def started(dsn: str) -> Process:
    """Start a process that migrates a database."""
    program = "import asyncio, sys; from convostore.postgres import migrate; asyncio.run(migrate(sys.argv[1]))"
    return await asyncio.create_subprocess_exec(sys.executable, "-c", program, dsn, stderr=PIPE)


async def stopped(admin: Any, process: Process) -> int:
    """Return the backend that waits for lock 7, once one does."""
    async with asyncio.timeout(60):
        while process.returncode is None:
            query = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted"
            if pid := await admin.fetchval(query):
                return int(pid)
    _, errors = await process.communicate()
    raise AssertionError(f"the process ended before it came to the step: {errors.decode()}")


@pytest.fixture
def one_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be one more migration."""
    folder = copytree(Path(module.__file__).parent / "versions", tmp_path / "versions")
    version = f"{len(module.VERSIONS):04}"
    folder.joinpath(f"{version}_more.sql").write_text(MORE)
    monkeypatch.setattr(scripts, "folder", lambda: folder)
    monkeypatch.setattr(module, "VERSIONS", (*module.VERSIONS, version))
    monkeypatch.setattr(module, "HEAD", version)


@pytest.mark.usefixtures("one_more")
async def test_traffic_waits_for_an_upgrade_no_longer_than_its_lock_timeout(empty: str) -> None:
    assert scripts.LOCK_TIMEOUT < DEFAULT_TIMEOUT
    await migrate(empty, module.VERSIONS[-2])
    async with (
        await create_pool(empty) as pool,
        connected(empty) as admin,
        # Whoever reads for long, such as a backup, is what an upgrade waits for, and what comes later behind it.
        blocking(empty, "SELECT count(*) FROM convostore.session") as backup,
    ):
        store, session = PostgresSessionStore(pool, timeout=60), make_session(uuid4())
        await store.save(session)
        before = await snapshot(empty)
        upgrade = asyncio.create_task(migrate(empty, timeout=60))
        async with asyncio.timeout(20):
            while not await admin.fetchval(WAITS):
                pass
        traffic = asyncio.gather(*(store.get(session.session_id) for _ in range(5)))
        with pytest.raises(ConnectionError) as late:
            await upgrade
        assert (late.value.code, late.value.retryable, late.value.outcome) == ("55P03", True, "not_applied")
        # The backup goes on.
        assert await traffic == [session] * 5
        await store.save(session)
        assert await snapshot(empty) == before
        await backup.let_go()
        upgrade = asyncio.create_task(migrate(empty, timeout=60))
        while not upgrade.done():
            await store.save(session)
            assert await store.get(session.session_id) == session
        await upgrade
        assert await schema_version(empty) == module.HEAD
        assert await store.get(session.session_id) == session
