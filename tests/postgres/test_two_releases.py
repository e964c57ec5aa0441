"""Two releases in real processes, side by side on one database, through an expand and a contract."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any
from uuid import UUID, uuid4

import pytest

import convostore
from convostore.embedded import Embedded
from convostore.postgres import migrate, schema_version
from convostore.postgres.migrations import VERSIONS
from tests.postgres import releasing
from tests.postgres.databases import connected, fresh_database

pytestmark = pytest.mark.slow

OLD, EXPANDED, CONTRACTED = VERSIONS[-1], f"{len(VERSIONS):04}", f"{len(VERSIONS) + 1:04}"

EXPAND = f"""-- Agents and sessions have a nickname.
-- phase: expand
-- compatible: {OLD}

-- up

ALTER TABLE convostore.agent ADD COLUMN nickname text;

ALTER TABLE convostore.session ADD COLUMN nickname text;

-- down

ALTER TABLE convostore.agent DROP COLUMN nickname;

ALTER TABLE convostore.session DROP COLUMN nickname;
"""
CONTRACT = f"""-- Every agent has a nickname, which the release before does not give it.
-- phase: contract
-- compatible: {EXPANDED}

-- up

ALTER TABLE convostore.agent ALTER COLUMN nickname TYPE text USING coalesce(nickname, 'none');

ALTER TABLE convostore.agent ALTER COLUMN nickname SET NOT NULL;

-- down

ALTER TABLE convostore.agent ALTER COLUMN nickname DROP NOT NULL;
"""
FIELD = '    nickname: str | None = None\n    """Short name; None if not given."""\n'


def release(folder: Path) -> Path:
    """Copy the package of this checkout; return the folder to import it from."""
    copytree(Path(convostore.__file__).parent, folder / "convostore", ignore=ignore_patterns("__pycache__"))
    return folder


def next_release(folder: Path) -> Path:
    """Copy the package of this checkout, and give it one more field in two models, and the migration for it."""
    release(folder)
    for name, line in (("config", "class Agent(ConfigEntity):\n"), ("session", "class Session(Model):\n")):
        path = folder / "convostore" / "models" / f"{name}.py"
        head, found, rest = path.read_text("utf-8").partition(line)
        optional = re.search(r"^    \w+: \w+ \| None = ", rest, re.MULTILINE)
        assert found
        assert optional
        at = optional.start()
        path.write_text(head + found + rest[:at] + FIELD + rest[at:], "utf-8")
    add_revision(folder, EXPANDED, EXPAND)
    return folder


def add_revision(folder: Path, number: str, text: str) -> None:
    """Give a copy one more migration."""
    (folder / "convostore" / "postgres" / "migrations" / "versions" / f"{number}_next.sql").write_text(text)


@pytest.fixture
async def empty(engines: Embedded) -> AsyncIterator[str]:
    """The DSN of an empty database."""
    async with fresh_database(engines.postgres_dsn) as dsn:
        yield dsn


class Instance:
    """A process of a release."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def says(self) -> dict[str, Any]:
        """Return its next line."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            line = await self.process.stdout.readline()
        assert line, "it ended"
        said: dict[str, Any] = json.loads(line)
        return said

    async def works(self, rounds: int = 3) -> dict[str, Any]:
        """Return what it sees after some more rounds."""
        said: dict[str, Any] = {}
        for _ in range(rounds):
            said = await self.says()
            assert "failed" not in said, said
        return said

    async def sees(self, nickname: str | None) -> dict[str, Any]:
        """Return what it sees once it sees an agent with a nickname, or without one."""
        said = await self.works(1)
        while nickname not in said["agents"].values():
            said = await self.works(1)
        return said

    async def ends(self) -> int:
        """Let it end, and return its exit code."""
        await self.process.communicate(b"\n")
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def instance(folder: Path, dsn: str, redis_url: str, tenant: UUID, *nickname: str) -> AsyncIterator[Instance]:
    """Run an instance of a release."""
    arguments = releasing.__file__, dsn, redis_url, str(tenant), *nickname
    environment = {**os.environ, "PYTHONPATH": os.fspath(folder)}
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment, stdin=PIPE, stdout=PIPE)
    try:
        yield Instance(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def migrate_as(folder: Path, dsn: str) -> None:
    """Migrate as a release does."""
    program = "import asyncio, sys; from convostore.postgres import migrate; asyncio.run(migrate(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": os.fspath(folder)}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, dsn, env=environment)
    assert await process.wait() == 0


async def version(dsn: str) -> str:
    """Return the version of the schema."""
    async with connected(dsn) as admin:
        found: str = await admin.fetchval("SELECT version_num FROM convostore.alembic_version")
        return found


async def test_two_releases_work_side_by_side_through_an_expand_and_a_contract(
    engines: Embedded, empty: str, tmp_path: Path
) -> None:
    before, after, tenant = release(tmp_path / "before"), next_release(tmp_path / "after"), uuid4()
    servers = empty, engines.redis_url, tenant
    async with instance(before, *servers) as old:
        await old.works()
        assert await version(empty) == OLD
        # Expand: the old release goes on, and a new instance of it starts and works.
        await migrate_as(after, empty)
        assert await version(empty) == EXPANDED
        async with instance(after, *servers, "Al") as new, instance(before, *servers) as restarted:
            named = {name for name, nickname in (await new.sees("Al"))["agents"].items() if nickname}
            for each in (old, restarted):
                while not named <= (await each.works(1))["agents"].keys():
                    pass
            # The oldest agent is the old release's, and saved by all of them in turn.
            assert (await new.works())["agents"].keys() >= named
            assert [await each.ends() for each in (restarted, old)] == [0, 0]
            # Contract: what has ended no longer starts, and who knows the field goes on.
            add_revision(after, CONTRACTED, CONTRACT)
            await migrate_as(after, empty)
            assert await version(empty) == CONTRACTED
            assert (await new.sees("none"))["agents"]
            await new.works()
            async with instance(before, *servers) as late:
                assert (await late.says())["failed"] == (
                    f"postgres_url: the schema is at {CONTRACTED}, which takes a release that knows {EXPANDED}; this "
                    f"one knows it up to {OLD}: upgrade convostore"
                )
            async with instance(after, *servers, "Bo") as started:
                await started.sees("Bo")
                assert await started.ends() == 0
            assert await new.ends() == 0


async def test_the_release_before_can_be_rolled_back_to_after_an_expand(
    engines: Embedded, empty: str, tmp_path: Path
) -> None:
    after, tenant = next_release(tmp_path / "after"), uuid4()
    async with instance(after, empty, engines.redis_url, tenant, "Al") as new:
        oldest = (await new.works())["oldest"]
        assert await new.ends() == 0
    assert await schema_version(empty) == EXPANDED
    async with instance(release(tmp_path / "before"), empty, engines.redis_url, tenant) as back:
        assert (await back.works())["oldest"] == oldest
        assert await back.ends() == 0
    await migrate(empty)
    async with connected(empty) as admin:
        nicknames = await admin.fetch("SELECT nickname FROM convostore.agent WHERE name = $1", oldest)
    # What the older release has saved since keeps what it does not know.
    assert [*map(tuple, nicknames)] == [("Al",)]
