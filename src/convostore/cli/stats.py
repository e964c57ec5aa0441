"""`convostore stats`: how many rows and bytes are kept, of all tenants or one."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

from convostore.cli.database import postgres_dsn
from convostore.cli.looking import reading
from convostore.cli.output import Bytes, Row, show
from convostore.cli.progress import waiting
from convostore.postgres.overview import Overview, Size
from convostore.settings import load_settings


async def run(tenant: UUID | None, given: dict[str, Any], *, as_json: bool) -> bool:
    """Show the tables of all tenants as the catalogue knows them, or count the rows of one."""
    settings = load_settings(given)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(reading(await postgres_dsn(settings, stack), settings))
        overview = Overview(pool)
        sizes = await overview.sizes(tenant)
        if tenant is None:
            rows = [_table(name, size) for name, size in sizes.items()]
        else:
            with waiting("Counting rows"):
                counted = await overview.rows(tenant)
            rows = [_share(name, counted[name], size) for name, size in sizes.items() if name in counted]
    show({"tables": rows}, as_json=as_json)
    return True


def _table(name: str, size: Size) -> Row:
    return {
        "table": name,
        "rows_estimated": size.rows,
        "data": Bytes(size.data),
        "indexes": Bytes(size.indexes),
        "bytes": Bytes(size.data + size.indexes),
    }


def _share(name: str, rows: int, size: Size) -> Row:
    """Return a tenant's rows of a table, and its share of the bytes as if all rows were as long."""
    whole = size.data + size.indexes
    share: int | None = None
    if name == "large_space":
        share = whole  # these tables are the tenant's own
    elif size.rows:
        share = round(whole * min(1.0, rows / size.rows))
    return {"table": name, "rows": rows, "bytes_estimated": None if share is None else Bytes(share)}
