"""`convostore config`: an agent's configuration as files, for reviews and version control."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from convostore.cli.database import postgres_dsn
from convostore.cli.looking import reading
from convostore.cli.options import AsJson, Home, PostgresUrl, Tenant, given, reads, run
from convostore.cli.output import show
from convostore.cli.progress import counting, waiting
from convostore.operations.agent_files import export_agent
from convostore.operations.agent_import import Change, import_agent
from convostore.postgres import PostgresConfigStore, create_pool, migrate
from convostore.settings import load_settings

config = typer.Typer(name="config", help="Export and import an agent's configuration as files.", no_args_is_help=True)

Delete = Annotated[bool, typer.Option("--delete", help="Delete what the other side does not have.")]


@config.command("export", epilog=reads("timeout", "pooler"))
def config_export(
    tenant: Tenant,
    agent: Annotated[UUID, typer.Argument(help="The agent.")],
    directory: Annotated[Path, typer.Argument(help="Where to write; made if it is missing.", file_okay=False)],
    *,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Write embeddings, too.")] = False,
    delete: Delete = False,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Write an agent, its rules, scenarios, templates, variables and tools as files; what is the same is left alone."""
    settings = given(home, postgres_url)
    run(_export(tenant, agent, directory, settings, embeddings=embeddings, delete=delete, as_json=as_json))


@config.command("import", epilog=reads("timeout", "pooler", "language"))
def config_import(
    tenant: Tenant,
    directory: Annotated[Path, typer.Argument(help="As export wrote it.", exists=True, file_okay=False, readable=True)],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, and show what differs.")] = False,
    delete: Delete = False,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Make an agent what files say: save what differs; repeating it changes nothing."""
    settings = given(home, postgres_url)
    run(_import(tenant, directory, settings, delete=delete, dry_run=dry_run, as_json=as_json))


async def _export(
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


async def _import(
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
