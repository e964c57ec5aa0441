"""`convostore memory`: maintains vector and text search."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from convostore.cli.database import postgres_dsn
from convostore.cli.embedders import loaded_embedder
from convostore.operations.reembedding import reembed
from convostore.postgres import PostgresMemoryStore, create_pool, migrate
from convostore.postgres.large_spaces import Space
from convostore.postgres.pool import MAINTENANCE_ROLE
from convostore.postgres.reindexing import reindex, tenants_with_embeddings
from convostore.postgres.text_reindexing import read_cursor, reindex_text
from convostore.settings import load_settings


async def run_reindex(console: Console, memory: str, workers: int, given: dict[str, Any]) -> bool:
    """Build and drop the indexes of large spaces, and print their names."""
    async with AsyncExitStack() as stack:
        dsn = await _postgres(given, stack)
        with _progress(console) as progress:
            tasks: dict[Space, Any] = {}

            def watch(space: Space, phase: str, share: float) -> None:
                if space not in tasks:
                    tasks[space] = progress.add_task("", total=1.0)
                what = f"{space.tenant_id}, {space.dimensions} dimensions, {space.episodes:,} episodes: {phase}"
                progress.update(tasks[space], description=what, completed=share)

            done = await reindex(dsn, memory=memory, workers=workers, watch=watch)
    for what, names in (("built", done.built), ("dropped", done.dropped), ("kept", done.kept)):
        console.print(f"{len(names):,} {what}", *names, sep="\n  ", highlight=False)
    return True


async def run_reembed(
    console: Console, model: str, name: str, tenants: list[UUID], batch: int, given: dict[str, Any]
) -> bool:
    """Move tenants to another embedding model, and print the number of their episodes."""
    embedder = loaded_embedder(name)
    async with AsyncExitStack() as stack:
        dsn = await _postgres(given, stack)
        pool = await create_pool(dsn, max_size=2, pooler=load_settings(given).pooler)
        store = PostgresMemoryStore(await stack.enter_async_context(pool))
        with _progress(console) as progress:
            for tenant in tenants or await tenants_with_embeddings(dsn):
                task = progress.add_task(str(tenant), total=None)
                switched = await reembed(
                    store,
                    tenant,
                    embedder,
                    model,
                    batch=batch,
                    watch=lambda count, task=task: progress.advance(task, count),  # type: ignore[misc]
                )
                progress.console.print(f"{tenant}: {switched:,} episodes", highlight=False)
    return True


async def run_reindex_text(
    console: Console, tenants: list[UUID], after: str | None, batch: int, given: dict[str, Any]
) -> bool:
    """Let the texts of these tenants, or of all, be found as this release lets them; print each batch's cursor."""
    cursor = read_cursor(after) if after else None
    async with AsyncExitStack() as stack:
        dsn, pooler = await _postgres(given, stack), load_settings(given).pooler
        pool = await stack.enter_async_context(await create_pool(dsn, max_size=1, role=MAINTENANCE_ROLE, pooler=pooler))
        rows = changed = 0
        async for done in reindex_text(pool, tenants, after=cursor, batch=batch):
            rows, changed = rows + done.rows, changed + done.changed
            line = f"{rows:,} texts, {changed:,} changed; --after {done.after}"
            console.print(line, highlight=False, soft_wrap=True)
    return True


async def _postgres(given: dict[str, Any], stack: AsyncExitStack) -> str:
    """Return the DSN of a migrated database."""
    dsn = await postgres_dsn(load_settings(given), stack)
    await migrate(dsn)
    return dsn


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)
