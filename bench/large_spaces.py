"""`python -m bench.large_spaces`: what thousands of large spaces cost everybody, and whether writes beside them last.

Three tenants have as many vectors as large ones have; the others have a few, and count as large by a lower threshold.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from statistics import quantiles
from typing import Any
from uuid import UUID

import asyncpg
from rich.console import Console
from rich.table import Table

from convostore.embedded import open_embedded
from convostore.errors import StoreError
from convostore.postgres import migrate, reindexing
from convostore.postgres.reindexing import reindex
from convostore.postgres.spaces import table_name
from convostore.postgres.tenancy import BIND_TENANT

FEW = 5
TRANSACTIONS = 185
"""Embedded servers take 200 connections."""

_ROWS = """
INSERT INTO convostore.episode (
    tenant_id, id, agent_id, customer_profile_id, group_id, content, content_type, source, language, embedding,
    embedding_model, importance, entity_ids, metadata, occurred_at, recorded_at)
SELECT md5($1 || t)::uuid, gen_random_uuid(), md5('agent')::uuid, md5((n % 50)::text)::uuid, gen_random_uuid(), 'tea',
       'message', 'user', 'simple', ARRAY(SELECT random() - 0.5 FROM generate_series(1, $2::integer + 0 * n))::vector,
       'm', 0.5, '{}', '{}', now() + n * interval '1 second', now()
FROM generate_series(1, $3::integer) AS t, generate_series(1, $4::integer) AS n
"""
_ADD = f"""
INSERT INTO convostore.episode (
    tenant_id, id, agent_id, group_id, content, content_type, source, language, embedding, embedding_model, importance,
    entity_ids, metadata, occurred_at, recorded_at)
SELECT $1, gen_random_uuid(), md5('agent')::uuid, gen_random_uuid(), 'tea', 'message', 'user', 'simple',
       $2::text::vector, 'm', 0.5, '{{}}', '{{}}', now(), now()
WHERE {BIND_TENANT}
RETURNING id
"""
_GET = f"SELECT t.content FROM convostore.episode AS t WHERE {BIND_TENANT} AND t.tenant_id = $1 AND t.id = $2"
_MOVE = f"""
UPDATE convostore.episode AS t SET customer_profile_id = gen_random_uuid()
WHERE {BIND_TENANT} AND t.tenant_id = $1 AND t.id = $2
"""
_DELETE = f"DELETE FROM convostore.episode AS t WHERE {BIND_TENANT} AND t.tenant_id = $1 AND t.id = $2"
_LOCKS = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation IS NOT NULL"
_MEMORY = "SELECT sum(total_bytes) / 1048576.0 FROM pg_backend_memory_contexts"
_COPIED = (
    "tenant_id, id, agent_id, customer_profile_id, session_id, group_id, content_type, model_hash, occurred_at, "
    "valid_from, valid_to, dimensions, direction::text"
)


class Spaces:
    """A database with tenants of three kinds."""

    def __init__(self, dsn: str, dimensions: int, dice: Random) -> None:
        self.dsn = dsn
        self.dimensions = dimensions
        self.dice = dice

    async def tenant(self, kind: str, number: int) -> UUID:
        async with self.connected() as connection:
            found: UUID = await connection.fetchval("SELECT md5($1 || $2::text)::uuid", kind, str(number))
            return found

    def vector(self) -> str:
        return str([self.dice.gauss(0, 1) for _ in range(self.dimensions)])

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self.dsn, server_settings={"jit": "off"})
        try:
            await connection.execute("SET ROLE convostore_app")
            yield connection
        finally:
            await connection.close()

    async def measure(self, table: Table, title: str) -> None:
        """Add a row for each kind of tenant, and what connections hold."""
        for kind in ("none", "few", "real"):
            tenant = await self.tenant(kind, 1)
            first, got, planned, added = [], [], [], []
            for _ in range(15):
                async with self.connected() as connection:
                    started = time.perf_counter()
                    await connection.fetchval(_GET, tenant, tenant)
                    first.append(time.perf_counter() - started)
            async with self.connected() as connection:
                for _ in range(60):
                    started = time.perf_counter()
                    id = await connection.fetchval(_ADD, tenant, self.vector())
                    added.append(time.perf_counter() - started)
                    started = time.perf_counter()
                    await connection.fetchval(_GET, tenant, id)
                    got.append(time.perf_counter() - started)
                    plan = _GET.replace("$1", f"'{tenant}'").replace("$2", f"'{id}'")
                    line = (await connection.fetch(f"EXPLAIN (SUMMARY) {plan}"))[-1][0]
                    planned.append(float(line.split()[2]) / 1e3)
                    await connection.execute(_DELETE, tenant, id)
            held = []
            for statement, values in ((_GET, (tenant, tenant)), (_ADD, (tenant, self.vector()))):
                async with self.connected() as connection, connection.transaction():
                    await connection.fetch(statement, *values)
                    held.append(await connection.fetchval(_LOCKS))
            table.add_row(title, kind, *map(_spread, (first, planned, got, added)), "{} / {}".format(*held))
        async with self.connected() as connection:
            tenants = [await self.tenant("few", number) for number in range(1, 61)]
            used = []
            for group in (tenants[:1], tenants):
                for tenant in group:
                    await connection.fetchval(_GET, tenant, tenant)
                    await connection.execute(_DELETE, tenant, await connection.fetchval(_ADD, tenant, self.vector()))
                await connection.execute("RESET ROLE")
                used.append(await connection.fetchval(_MEMORY))
                await connection.execute("SET ROLE convostore_app")
        table.add_section()
        table.caption = (
            f"{table.caption or ''}\n{title}: backend after one tenant {used[0]:.1f} MiB, after 60 {used[1]:.1f}"
        )

    async def open_transactions(self) -> str:
        """Hold many transactions open, each of which has read and written."""
        async with asyncio.TaskGroup() as group:
            everywhere, ready = asyncio.Event(), [0]

            async def hold(number: int) -> None:
                tenant = await self.tenant("few", number)
                async with self.connected() as connection, connection.transaction():
                    await connection.fetchval(_GET, tenant, tenant)
                    await connection.fetchval(_ADD, tenant, self.vector())
                    ready[0] += 1
                    if ready[0] == TRANSACTIONS:
                        everywhere.set()
                    await everywhere.wait()

            for number in range(TRANSACTIONS):
                group.create_task(hold(number + 1))
        return f"{TRANSACTIONS} transactions were open at once"

    @asynccontextmanager
    async def writers(self, taken: list[float]) -> AsyncIterator[None]:
        """Add, move and delete episodes of real and small tenants at the same time; an error ends the program."""
        stop = asyncio.Event()

        async def write(kind: str) -> None:
            tenant, mine = await self.tenant(kind, 3), []
            async with self.connected() as connection:
                while not stop.is_set():
                    started = time.perf_counter()
                    mine.append(await connection.fetchval(_ADD, tenant, self.vector()))
                    if kind == "real":
                        taken.append(time.perf_counter() - started)
                    await connection.execute(_MOVE, tenant, self.dice.choice(mine))
                    if self.dice.random() < 0.4:
                        await connection.execute(_DELETE, tenant, mine.pop(self.dice.randrange(len(mine))))
                    await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as group:
            for kind in ("real", "few"):
                group.create_task(write(kind))
            yield
            stop.set()

    async def differences(self) -> int:
        """Return how many rows the tables of the real tenants have too many and too few."""
        found = 0
        connection = await asyncpg.connect(self.dsn)
        for number in (1, 2, 3):
            tenant = await self.tenant("real", number)
            own = f"SELECT {_COPIED} FROM convostore.episode WHERE tenant_id = '{tenant}'"
            copies = f"SELECT {_COPIED} FROM convostore.{table_name(tenant, self.dimensions)}"
            found += await connection.fetchval(
                f"SELECT count(*) FROM (({own} EXCEPT ALL {copies}) UNION ALL ({copies} EXCEPT ALL {own})) AS d"
            )
        await connection.close()
        return found

    async def killed(self, times: int) -> int:
        """Kill so many processes that reindex, and let the next finish; return how many were still at work."""
        killed = 0
        command = [
            sys.executable,
            "-c",
            "from convostore.cli import main; main()",
            "memory",
            "reindex",
            "--postgres-url",
            self.dsn,
        ]
        for _ in range(times):
            process = await asyncio.create_subprocess_exec(*command, stdout=-3, stderr=-3)
            try:
                async with asyncio.timeout(self.dice.uniform(2, 12)):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
                killed += 1
        return killed


def _spread(seconds: list[float]) -> str:
    tenths = quantiles(seconds, n=10)
    return f"{1e3 * tenths[0]:.2f} / {1e3 * tenths[4]:.2f}"


async def _reindexed(dsn: str, threshold: int) -> tuple[int, int, float]:
    setattr(reindexing, "EXACT_ROWS", threshold)  # noqa: B010
    started = time.perf_counter()
    while True:
        try:
            done = await reindex(dsn)
        except StoreError as error:  # the server has not yet noticed that a killed process is gone
            if type(error).__name__ != "ConflictError":
                raise
            await asyncio.sleep(1)
            continue
        return len(done.built), len(done.dropped), time.perf_counter() - started


async def main() -> None:
    arguments = _parser().parse_args()
    console = Console(width=150)
    async with open_embedded(ephemeral=True, valkey=False) as engines:
        await migrate(engines.postgres_dsn)
        dsn, spaces = engines.postgres_dsn, Spaces(engines.postgres_dsn, arguments.dimensions, Random(1))
        admin = await asyncpg.connect(dsn)
        for kind, tenants, rows in (("real", 3, arguments.rows), ("few", arguments.spaces, FEW), ("none", 60, 1)):
            await admin.execute(_ROWS, kind, arguments.dimensions, tenants, rows)
        await admin.execute("VACUUM ANALYZE")
        columns = ("large spaces", "tenant", "first get", "planning", "get", "insert", "locks of get / insert")
        table = Table(*columns, title="ms, p10 / p50")
        await spaces.measure(table, "0")
        before: list[float] = []
        async with spaces.writers(before):
            await asyncio.sleep(5)
        during: list[float] = []
        async with spaces.writers(during):
            built, _, took = await _reindexed(dsn, FEW - 1)
        console.print(f"{built:,} tables built in {took:.0f} s; differences: {await spaces.differences()}")
        await spaces.measure(table, f"{built:,}")
        console.print(table)
        console.print(
            f"insert of a large tenant before, ms: {_spread(before)}; while they were built: {_spread(during)}"
        )
        console.print(await spaces.open_transactions())
        async with spaces.writers([]):
            _, dropped, took = await _reindexed(dsn, arguments.rows * 9)
            console.print(f"{dropped:,} tables dropped in {took:.0f} s")
            killed = await spaces.killed(5)
            built, _, took = await _reindexed(dsn, arguments.rows - 1)
        console.print(f"{killed} processes killed, then {built} tables built in {took:.0f} s")
        console.print(f"differences: {await spaces.differences()}")
        await admin.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.large_spaces", description=__doc__)
    parser.add_argument("--spaces", type=int, default=2_000, help="registered ones of few rows")
    parser.add_argument("--rows", type=int, default=21_000, help="of each of three real ones")
    parser.add_argument("--dimensions", type=int, default=128)
    return parser


if __name__ == "__main__":
    asyncio.run(main())
