"""What the commands of `convostore memory` do."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import typer

from convostore.cli.database import postgres_dsn
from convostore.cli.embedders import loaded_embedder
from convostore.cli.output import report
from convostore.cli.progress import counting, shares
from convostore.operations.reembedding import reembed
from convostore.postgres import PostgresMemoryStore, create_pool, migrate
from convostore.postgres.large_spaces import Space
from convostore.postgres.pool import MAINTENANCE_ROLE
from convostore.postgres.reindexing import reindex, tenants_with_embeddings
from convostore.postgres.text_reindexing import read_cursor, reindex_text
from convostore.settings import load_settings


async def run_reindex(memory: str, workers: int, given: dict[str, Any], *, as_json: bool) -> bool:
    """Build and drop the indexes of large spaces, and print their names."""
    async with AsyncExitStack() as stack:
        dsn = await _migrated(given, stack)
        with shares() as tell:

            def watch(space: Space, phase: str, share: float) -> None:
                what = f"{space.tenant_id}, {space.dimensions} dimensions, {space.episodes:,} episodes: {phase}"
                tell(space, what, share)

            done = await reindex(dsn, memory=memory, workers=workers, watch=watch)
    found = {"built": done.built, "dropped": done.dropped, "kept": done.kept}
    lines = ["\n  ".join([f"{len(names):,} {what}", *names]) for what, names in found.items()]
    report("\n".join(lines), as_json=as_json, built=done.built, dropped=done.dropped, kept=done.kept)
    return True


async def run_reembed(
    model: str, name: str, tenants: list[UUID], batch: int, given: dict[str, Any], *, as_json: bool
) -> bool:
    """Move tenants to another embedding model, and print the number of their episodes."""
    embedder = loaded_embedder(name)
    async with AsyncExitStack() as stack:
        dsn = await _migrated(given, stack)
        pool = await create_pool(dsn, max_size=2, pooler=load_settings(given).pooler)
        store = PostgresMemoryStore(await stack.enter_async_context(pool))
        switched = {}
        for tenant in tenants or await tenants_with_embeddings(dsn):
            with counting(f"Embedding episodes of {tenant}") as watch:
                switched[tenant] = await reembed(store, tenant, embedder, model, batch=batch, watch=watch)
            if not as_json:
                typer.echo(f"{tenant}: {switched[tenant]:,} episodes")
    if as_json:
        rows = [{"tenant": tenant, "episodes": episodes} for tenant, episodes in switched.items()]
        report("", as_json=True, tenants=rows)
    return True


async def run_reindex_text(
    tenants: list[UUID], after: str | None, batch: int, given: dict[str, Any], *, as_json: bool
) -> bool:
    """Let the texts of these tenants, or of all, be found as this release lets them; print each batch's cursor."""
    cursor = read_cursor(after) if after else None
    async with AsyncExitStack() as stack:
        dsn, pooler = await _migrated(given, stack), load_settings(given).pooler
        pool = await stack.enter_async_context(await create_pool(dsn, max_size=1, role=MAINTENANCE_ROLE, pooler=pooler))
        rows = changed = 0
        with counting("Reindexing texts") as watch:
            async for done in reindex_text(pool, tenants, after=cursor, batch=batch):
                cursor, rows, changed = done.after, rows + done.rows, changed + done.changed
                watch(done.rows)
                if not as_json:
                    typer.echo(f"{rows:,} texts, {changed:,} changed; --after {cursor}")
    if as_json:
        report("", as_json=True, texts=rows, changed=changed, after=cursor and str(cursor))
    return True


async def _migrated(given: dict[str, Any], stack: AsyncExitStack) -> str:
    """Return the DSN of a migrated database."""
    dsn = await postgres_dsn(load_settings(given), stack)
    await migrate(dsn)
    return dsn
