"""What a save of several rows reads for each of them is the same for few as for many."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.postgres import PostgresConfigStore, create_pool, migrate
from convostore.testing.config.rows import CONFIG_ROWS, ConfigRows
from tests.postgres.databases import fresh_database

FEW, MANY = 30, 300
_MORE = 2
"""Rows that may be read more for each of many, where another plan begins with another table."""


@pytest.fixture(scope="module")
async def unanalyzed(server: Embedded) -> AsyncIterator[asyncpg.Pool[Any]]:
    """A pool of one connection on a database without statistics: each table is taken for a small one."""
    async with fresh_database(server.postgres_dsn) as dsn:
        await migrate(dsn)
        async with await create_pool(dsn, max_size=1) as opened:
            await opened.execute("SELECT 1")
            yield opened


@pytest.mark.parametrize("rows", CONFIG_ROWS, ids=str)
async def test_saving_many_rows_that_exist_reads_each_as_often_as_saving_few(
    unanalyzed: asyncpg.Pool[Any], monkeypatch: pytest.MonkeyPatch, rows: ConfigRows
) -> None:
    store, tenant, agent = PostgresConfigStore(unanalyzed, timeout=60), uuid4(), uuid4()
    read = []
    for number in (FEW, MANY):
        items = [rows.make(tenant, agent) for _ in range(number)]
        await rows.save_all(store, items)
        with monkeypatch.context() as patched:
            plans = _explained(patched)
            await rows.save_all(store, items)
        (plan,) = plans
        read.append(sum(map(_read, _nodes(plan))) / number)
    few, many = read
    assert few > 1
    assert many <= few + _MORE


def _explained(patched: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the plans of the saves that run from now on; each is explained in a transaction that is rolled back."""
    execute, plans = asyncpg.Connection._execute, list[dict[str, Any]]()  # type: ignore[attr-defined]

    async def explain(self: Any, query: str, args: Any, limit: int, timeout: float | None, **more: Any) -> Any:
        if "INSERT INTO" in query:
            await self.execute("BEGIN")
            (row,) = await execute(self, f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query}", args, 0, timeout)
            await self.execute("ROLLBACK")
            plans.append(json.loads(row[0])[0]["Plan"])
        return await execute(self, query, args, limit, timeout, **more)

    patched.setattr(asyncpg.Connection, "_execute", explain)
    return plans


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", []):
        yield from _nodes(inner)


def _read(node: dict[str, Any]) -> float:
    """Return how many rows a node looks at, of a table or of another node."""
    removed = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
    read: float = (node["Actual Rows"] + removed) * node["Actual Loops"]
    return read
