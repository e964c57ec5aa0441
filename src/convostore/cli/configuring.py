"""What the commands of `convostore config` do."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import typer

from convostore.cli.database import postgres_dsn
from convostore.cli.looking import reading
from convostore.cli.output import show
from convostore.cli.progress import counting, waiting
from convostore.operations.agent_files import export_agent
from convostore.operations.agent_import import Change, import_agent
from convostore.postgres import PostgresConfigStore, create_pool, migrate
from convostore.settings import load_settings


async def export_files(
    tenant: UUID,
    agent: UUID,
    directory: Path,
    given: dict[str, Any],
    *,
    embeddings: bool,
    delete: bool,
    as_json: bool,
) -> bool:
    settings = load_settings(given)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(reading(await postgres_dsn(settings, stack), settings))
        store = PostgresConfigStore(pool, timeout=settings.timeout)
        with waiting("Exporting"):
            files = await export_agent(store, tenant, agent, directory, embeddings=embeddings, delete=delete)
    rows = [{"file": str(path), "what": what} for path, what in files.items()]
    counts = Counter(files.values())
    show({"files": rows, "counts": dict(counts)} if as_json else {"counts": dict(counts)}, as_json=as_json)
    return True


async def import_files(
    tenant: UUID, directory: Path, given: dict[str, Any], *, delete: bool, dry_run: bool, as_json: bool
) -> bool:
    settings = load_settings(given)
    async with AsyncExitStack() as stack:
        dsn = await postgres_dsn(settings, stack)
        await migrate(dsn)
        pool = await stack.enter_async_context(await create_pool(dsn, max_size=1, pooler=settings.pooler))
        store = PostgresConfigStore(pool, timeout=settings.timeout, language=settings.language)
        with counting("Importing") as watch:
            changes = await import_agent(store, tenant, directory, delete=delete, dry_run=dry_run, watch=watch)
    counts = dict(Counter(change.what for change in changes))
    differing = [change for change in changes if change.what != "unchanged"]
    if as_json:
        show({"changes": [_row(change, dry_run) for change in differing], "counts": counts}, as_json=True)
        return True
    for change in differing:
        name = f"{change.entry.declaration.name}/{change.entry.label}"
        if dry_run and change.what != "left":
            typer.echo(change.diff or f"{name}: embeddings\n", nl=False)
        else:
            typer.echo(f"{change.what}: {name}")
    show({"counts": counts}, as_json=False)
    return True


def _row(change: Change, dry_run: bool) -> dict[str, Any]:
    kind, key = change.entry.key
    row = {"what": change.what, "kind": kind, "key": key, "name": change.entry.label}
    return {**row, "diff": change.diff} if dry_run else row
