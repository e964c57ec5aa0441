"""`convostore memory`: maintains vector and text search."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Annotated, Any
from uuid import UUID

import typer

from convostore.cli.database import postgres_dsn
from convostore.cli.embedders import loaded_embedder
from convostore.cli.options import AsJson, Home, PostgresUrl, given, reads, run
from convostore.cli.output import report
from convostore.cli.progress import counting, shares
from convostore.operations.reembedding import reembed
from convostore.postgres import PostgresMemoryStore, create_pool, migrate
from convostore.postgres.large_spaces import Space
from convostore.postgres.pool import MAINTENANCE_ROLE
from convostore.postgres.reindexing import reindex, tenants_with_embeddings
from convostore.postgres.text_reindexing import read_cursor, reindex_text
from convostore.settings import load_settings

memory = typer.Typer(name="memory", help="Maintain vector and text search.", no_args_is_help=True)


@memory.command("reindex")
def memory_reindex(
    *,
    memory: Annotated[str, typer.Option(help="maintenance_work_mem of a build.")] = "512MB",
    workers: Annotated[int, typer.Option(help="Parallel workers of a build.", min=0, max=64)] = 0,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Build the indexes of spaces above 20,000 episodes and drop those of smaller ones, without blocking searches."""
    run(_reindex(memory, workers, given(home, postgres_url), as_json=as_json))


@memory.command("re-embed", epilog=reads("pooler"))
def memory_re_embed(
    *,
    to: Annotated[str, typer.Option(help="The name of the new model.", metavar="MODEL")],
    embedder: Annotated[str, typer.Option(help="Returns a vector for each text.", metavar="PACKAGE.MODULE:FUNCTION")],
    tenant: Annotated[list[UUID] | None, typer.Option(help="Only this tenant; repeatable.")] = None,
    batch: Annotated[int, typer.Option(help="Texts per call of the embedder.", min=1, max=1_000)] = 100,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Embed all episodes with another model beside the old embeddings, then switch over in one transaction."""
    run(_reembed(to, embedder, tenant or [], batch, given(home, postgres_url), as_json=as_json))


@memory.command("reindex-text", epilog=reads("pooler"))
def memory_reindex_text(
    *,
    tenant: Annotated[list[UUID] | None, typer.Option(help="Only this tenant; repeatable.")] = None,
    after: Annotated[str | None, typer.Option(help="Go on behind this cursor.", show_default=False)] = None,
    batch: Annotated[int, typer.Option(help="Texts per statement.", min=1, max=10_000)] = 500,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Let what an earlier release has stored be found as it looks: episodes, entities, rules. Repeatable."""
    run(_reindex_text(tenant or [], after, batch, given(home, postgres_url), as_json=as_json))


async def _reindex(memory: str, workers: int, given: dict[str, Any], *, as_json: bool) -> bool:
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


async def _reembed(
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


async def _reindex_text(
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
