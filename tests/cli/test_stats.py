"""`convostore stats`: rows are counted, bytes are the catalogue's."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

from typer.testing import CliRunner

from convostore.cli.app import app
from convostore.cli.output import Bytes
from convostore.embedded import Embedded
from convostore.postgres import create_pool
from convostore.postgres.pool import READER_ROLE
from tests.postgres.databases import NO_TENANT, connected, fresh_user
from tests.postgres.filled import fill

TABLES = """
SELECT relname FROM pg_class WHERE relnamespace = 'convostore'::regnamespace AND relkind IN ('r', 'p')
AND NOT relispartition AND NOT starts_with(relname, 'large_space_') ORDER BY 1
"""


async def tables(dsn: str, *arguments: str) -> list[dict[str, Any]]:
    """Return what the command prints for programs."""
    environment = {"CONVOSTORE_POSTGRES_URL": dsn}
    result = await asyncio.to_thread(CliRunner().invoke, app, ["stats", *arguments, "--json"], env=environment)
    assert result.exit_code == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)["tables"]
    return found


async def test_every_table_is_counted_for_a_tenant_and_measured_for_all(engines: Embedded) -> None:
    async with await create_pool(engines.postgres_dsn) as pool:
        tenant = await fill(pool)
    async with connected(engines.postgres_dsn) as admin:
        await admin.execute("ANALYZE convostore.agent")
        names = [name for (name,) in await admin.fetch(TABLES)]
        counted = {
            name: await admin.fetchval(f'SELECT count(*) FROM convostore."{name}" WHERE tenant_id = $1', tenant)
            for name in names
            if name not in NO_TENANT
        }
    async with fresh_user(engines.postgres_dsn, f"IN ROLE {READER_ROLE}") as dsn:
        of_all, of_one, of_nobody = await tables(dsn), await tables(dsn, str(tenant)), await tables(dsn, str(uuid4()))
    assert [row["table"] for row in of_all] == names
    assert all(row["bytes"] == row["data"] + row["indexes"] for row in of_all)
    assert {row["table"]: row["rows"] for row in of_one} == counted
    assert {row["rows"] for row in of_nobody} == {0}
    (agents,), (share,) = ([row for row in rows if row["table"] == "agent"] for rows in (of_all, of_one))
    assert agents["rows_estimated"] >= 1
    assert share["bytes_estimated"] == round(agents["bytes"] * min(1, share["rows"] / agents["rows_estimated"]))


def test_bytes_are_shown_in_units_for_people() -> None:
    shown = [str(Bytes(size)) for size in (0, 1023, 1024, 1536, 5 * 1024**3)]
    assert shown == ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 GiB"]
