"""`python -m bench.migrating`: a filled database is migrated beside traffic of the release that knew the schema before.

That release is taken from git. Its processes make calls of all stores before the migration, while a transaction that
has written episodes and fields keeps it from their tables, while it runs, and after it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import md5
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID

from rich.console import Console
from rich.table import Table

from bench import beside
from bench.__main__ import positive
from convostore.embedded import Embedded, open_embedded
from convostore.errors import ConnectionError
from convostore.postgres import migrate, schema_version
from convostore.postgres.migrations import VERSIONS, running  # noqa: F401 (takes long to import)
from convostore.postgres.migrations.scripts import folder
from tests.postgres.databases import connected
from tests.postgres.test_plans import TABLES

ROOT = Path(__file__).parent.parent
SIZES = {"episodes": 300_000, "dimensions": 64, "profiles": 1_000_000, "sessions": 100_000, "records": 100_000}
SIZES |= {"tenants": 100, "processes": 4, "conversations": 4, "seconds": 10}
"""How many there are, conversations in each process, and for how long calls are made before and after each step."""
_LOOK = 0.003
"""Seconds between two looks at the locks."""
_ID, _NEW = "md5('{} ' || n)::uuid", "gen_random_uuid()"
_VECTOR = "ARRAY(SELECT random() - 0.5 FROM generate_series(1, vector_dims(t.embedding) + 0 * n))::vector"
COPIED = {
    "episode": {"id": _NEW, "agent_id": "tenants.id", "embedding": _VECTOR},
    "profile": {"id": _ID.format("profile"), "customer_id": _NEW},
    "profile_field": {"id": _NEW, "profile_id": _ID.format("profile"), "expires_at": "now() + n * interval '1 min'"},
    "session": {"session_id": _NEW, "agent_id": "tenants.id", "user_channel_id": "'user ' || n"},
    "audit_record": {"record_id": _ID.format("record"), "session_id": _NEW},
    "audit_body": {"record_id": _ID.format("record"), "session_id": _NEW},
}
"""The tables that are filled, and what a copy of a row has instead of a column."""
_LOCKS = """
SELECT c.relname || ', ' || l.mode, l.granted FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
WHERE c.relnamespace = 'convostore'::regnamespace AND c.relkind IN ('r', 'p')
    AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""
"""Those that keep calls from writing."""


class Span(NamedTuple):
    """A step of the run, an attempt at a migration, a lock, or a call with the code of its error."""

    began: float
    ended: float
    name: str
    code: str = ""

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Attempts(logging.Handler):
    """Takes from Alembic's log when each attempt at a migration began, and the locks from what is seen."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.began: list[tuple[str, float]] = []
        self.locks: dict[tuple[int, bool, str], Span] = {}
        logger = logging.getLogger("alembic.runtime.migration")
        logger.setLevel(logging.INFO)
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if version := re.match(r"Running upgrade .*-> (\w+)", record.getMessage()):
            self.began.append((version[1], time.monotonic()))

    async def look(self, connection: Any) -> None:
        """Look at the locks until it is cancelled."""
        while True:
            for lock, granted in await connection.fetch(_LOCKS):
                key, now = (len(self.began), granted, lock), time.monotonic()
                self.locks[key] = self.locks.get(key, Span(now, now, lock))._replace(ended=now)
            await asyncio.sleep(_LOOK)

    def table(self, ended: float) -> Table:
        shown = Table("version", "seconds", "waited longest for", "held longest", title="Migrations")
        times = [*(began for _, began in self.began), ended]
        for number, (version, began) in enumerate(self.began, 1):
            shown.add_row(version, f"{times[number] - began:.3f}", *(self._longest(number, each) for each in (0, 1)))
        return shown

    def _longest(self, number: int, granted: int) -> str:
        seen = [lock for key, lock in self.locks.items() if key[:2] == (number, granted)]
        return max(((lock.seconds, f"{lock.seconds:.3f} s, {lock.name}") for lock in seen), default=(0, ""))[1]


def release(version: str, target: str) -> None:
    """Extract the release that knew the schema up to a version: the parent of the commit that added the next one."""
    (added,) = (file.name for file in folder().iterdir() if file.name[:4] == VERSIONS[VERSIONS.index(version) + 1])
    log = "git", "log", "--diff-filter=A", "--format=%H", "--", f"src/convostore/postgres/migrations/versions/{added}"
    commit = subprocess.check_output(log, cwd=ROOT, text=True).split()[-1]
    archive = subprocess.check_output(["git", "archive", f"{commit}^", "src"], cwd=ROOT)
    subprocess.run(["tar", "-x", "-C", target], input=archive, check=True)


async def fill(admin: Any, rows: dict[str, int], tenants: list[UUID]) -> None:
    """Multiply the rows of the first tenant and spread them over all: so many per table."""
    columns = {table.removeprefix("convostore."): names for table, names, _ in await admin.fetch(TABLES)}
    for table, otherwise in COPIED.items():
        values = ({"tenant_id": "tenants.id", **otherwise}.get(name, f"t.{name}") for name in columns[table])
        await admin.execute(
            f"INSERT INTO convostore.{table} ({', '.join(columns[table])}) SELECT {', '.join(values)} "
            "FROM generate_series(1, $2::integer) AS n "
            "JOIN unnest($1::uuid[]) WITH ORDINALITY AS tenants (id, place) ON place = 1 + n / 10 % cardinality($1) "
            "JOIN (SELECT *, row_number() OVER () AS number, count(*) OVER () AS many "
            f"FROM convostore.{table} WHERE tenant_id = $1[1]) AS t ON t.number = 1 + n % t.many",
            *(tenants, rows[table]),
        )
    await admin.execute("VACUUM ANALYZE")


@asynccontextmanager
async def traffic(servers: Embedded, path: str, tenants: list[UUID], *more: int) -> AsyncIterator[list[Process]]:
    """Run a process of the release for each of these tenants, whose rows are there when the block begins."""
    environment, processes = {**os.environ, "PYTHONPATH": f"{path}/src"}, []
    try:
        for tenant in tenants:
            arguments = map(str, (beside.__file__, servers.postgres_dsn, servers.redis_url, tenant, *more))
            starting = asyncio.create_subprocess_exec(
                sys.executable, *arguments, env=environment, stdin=PIPE, stdout=PIPE, limit=1 << 30
            )
            processes.append(await starting)
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        yield processes
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()


async def gives_up(dsn: str, holder: Any) -> str:
    """Migrate while a transaction has written episodes and fields; return what came of it."""
    async with holder.transaction():
        await holder.execute("LOCK TABLE convostore.episode, convostore.profile_field IN ROW EXCLUSIVE MODE")
        try:
            await migrate(dsn)
        except ConnectionError as error:
            return f"{error.code}; the schema is at {await schema_version(dsn)}"
    return "was not kept from its table"


async def run(given: argparse.Namespace, console: Console) -> None:
    """Fill, migrate beside traffic, and print the figures."""
    tenants = [UUID(md5(f"tenant {number}".encode()).hexdigest()) for number in range(given.tenants)]
    rows = dict.fromkeys(COPIED, given.profiles) | {"episode": given.episodes, "session": given.sessions}
    rows |= dict.fromkeys(("audit_record", "audit_body"), given.records)
    more, steps = (given.dimensions, given.conversations), []

    @contextmanager
    def step(name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        steps.append(Span(began, time.monotonic(), name))

    async with open_embedded(ephemeral=True) as servers:
        dsn = servers.postgres_dsn
        await migrate(dsn, given.start)
        with tempfile.TemporaryDirectory() as path:
            release(given.start, path)
            async with (
                traffic(servers, path, tenants[: given.processes], *more) as processes,
                connected(dsn, session_replication_role="replica") as admin,  # neither triggers nor foreign keys
                connected(dsn) as looker,
            ):
                await fill(admin, rows, tenants)
                console.print(rows, await admin.fetchval("SELECT pg_size_pretty(pg_database_size(current_database()))"))
                for process in processes:
                    process.stdin.write(b"\n")  # type: ignore[union-attr]
                with step("before"):
                    await asyncio.sleep(given.seconds)
                with step("held"):
                    console.print("While a transaction has written:", await gives_up(dsn, admin))
                with step("between"):
                    await asyncio.sleep(given.seconds)
                attempts = Attempts()
                looking = asyncio.create_task(attempts.look(looker))
                with step("migrating"):
                    await migrate(dsn)
                looking.cancel()
                with step("after"):
                    await asyncio.sleep(given.seconds)
                answers = await asyncio.gather(*(process.communicate(b"\n") for process in processes))
        calls = [Span(*call) for answer, _ in answers for call in json.loads(answer)]
        console.print(attempts.table(steps[3].ended), table(calls, steps), f"Schema {await schema_version(dsn)}")


def table(calls: list[Span], steps: list[Span]) -> Table:
    """Return what calls met in each step; one that lasts from a step into the next belongs to both."""
    shown = Table("step", "seconds", "calls", "errors", "median", "longest", title="Calls of the release before")
    for step in steps:
        within = [call for call in calls if call.began < step.ended and step.began < call.ended]
        errors = Counter(f"{call.name} {call.code}" for call in within if call.code)
        longest = max(within, key=lambda call: call.seconds)
        shown.add_row(
            *(step.name, f"{step.seconds:.3f}", f"{len(within):,}"),
            ", ".join(f"{number} {name}" for name, number in errors.items()) or "0",
            f"{median(call.seconds for call in within):.3f} s",
            f"{longest.seconds:.3f} s, {longest.name}",
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.migrating", description=__doc__)
    parser.add_argument("--from", dest="start", choices=VERSIONS[1:-1], default="0012", help="(default: 0012)")
    for name, number in SIZES.items():
        parser.add_argument(f"--{name}", type=positive, default=number, help=f"(default: {number:,})")
    asyncio.run(run(parser.parse_args(), Console(width=160)))


if __name__ == "__main__":
    main()
