"""The commands, their options and exit codes: 0 success, 1 failure, 2 invalid input."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated
from uuid import NAMESPACE_URL, UUID, uuid5

import typer
from rich.console import Console

from convostore import __version__
from convostore.cli import audit as auditing
from convostore.cli import demo as demonstration
from convostore.cli import doctor as diagnosis
from convostore.cli import memory as remembering
from convostore.cli import migrate as migration
from convostore.cli import replay as replaying
from convostore.cli import stats as statistics
from convostore.cli import sweep as sweeping
from convostore.cli.config import config
from convostore.cli.inspect import inspect
from convostore.cli.options import AsJson, Home, PostgresUrl, RedisUrl, Tenant, given, run

REPLAY_TENANT = uuid5(NAMESPACE_URL, "convostore:replay")
"""The default tenant of a replay."""

app = typer.Typer(
    name="convostore",
    help="Persistence for multi-tenant conversational agents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

memory = typer.Typer(name="memory", help="Maintain vector and text search.", no_args_is_help=True)
app.add_typer(memory)
migrations = typer.Typer(name="migrate")
app.add_typer(migrations)
audit = typer.Typer(name="audit", help="Verify and export audit trails, and drop old bodies.", no_args_is_help=True)
app.add_typer(audit)
app.add_typer(config)
app.add_typer(inspect)


@app.callback(invoke_without_command=True)
def _main(
    *,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if show_version:
        typer.echo(f"convostore {__version__}")
        raise typer.Exit


@app.command()
def demo() -> None:
    """Replay a sample through all five stores, on temporary embedded engines."""
    run(demonstration.run(Console()))


@app.command()
def replay(
    files: Annotated[
        list[Path],
        typer.Argument(help="JSON Lines of records, or the JSON files of ABCD.", exists=True, dir_okay=False),
    ],
    *,
    tenant: Annotated[UUID, typer.Option(help="The tenant that owns the imported data.")] = REPLAY_TENANT,
    home: Home = None,
    postgres_url: PostgresUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """Import agents and replay conversations from files; repeating it changes nothing."""
    run(replaying.run(Console(), files, tenant, given(home, postgres_url, redis_url)))


@migrations.callback(invoke_without_command=True)
def migrate(
    context: typer.Context,
    *,
    revision: Annotated[str, typer.Option("--revision", "--to", help='"head", "base" or a number.')] = "head",
    start: Annotated[str, typer.Option("--from", help="With --sql: the revision that is there.")] = "base",
    sql: Annotated[bool, typer.Option("--sql", help="Print the statements instead; connects to nothing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Migrate the schema to a revision; "base" removes the schema and all data in it."""
    if context.invoked_subcommand:
        return
    if sql:
        run(migration.print_sql(start, revision))
        return
    if revision == "base" and not (yes or dry_run):
        typer.confirm("This deletes the schema convostore and all data in it. Continue?", abort=True)
    run(migration.run(Console(), revision, given(home, postgres_url, None), dry_run=dry_run))


@migrations.command("status")
def migrate_status(*, home: Home = None, postgres_url: PostgresUrl = None) -> None:
    """Say which revision the schema has, and whether this release works with it."""
    run(migration.status(Console(), given(home, postgres_url, None)))


@migrations.command("roles")
def migrate_roles(
    *,
    login: Annotated[str, typer.Option(help="The user that migrates, and may run the application.")],
    sql: Annotated[bool, typer.Option("--sql", help="Print the statements instead; connects to nothing.")] = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """As an administrator, make roles, extension and schema for a user without privileges on roles."""
    run(migration.prepare(Console(), login, given(home, postgres_url, None), sql=sql))


@app.command()
def sweep(
    *,
    every: Annotated[float | None, typer.Option(help="Repeat at this interval, in seconds.", min=0.1)] = None,
    home: Home = None,
    postgres_url: PostgresUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """Demote sessions idle for longer than hot_ttl, and delete those idle for longer than max_age."""
    run(sweeping.run(Console(), every, given(home, postgres_url, redis_url)))


@app.command()
def stats(
    tenant: Annotated[UUID | None, typer.Argument(help="The tenant; without, the tables of all.")] = None,
    *,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Show rows and bytes by table: a tenant's rows, counted, or all, as PostgreSQL's catalogue knows them."""
    run(statistics.run(tenant, given(home, postgres_url), as_json=as_json))


@memory.command()
def reindex(
    *,
    memory: Annotated[str, typer.Option(help="maintenance_work_mem of a build.")] = "512MB",
    workers: Annotated[int, typer.Option(help="Parallel workers of a build.", min=0, max=64)] = 0,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Build the indexes of spaces above 20,000 episodes and drop those of smaller ones, without blocking searches."""
    run(remembering.run_reindex(Console(), memory, workers, given(home, postgres_url, None)))


@memory.command("re-embed")
def re_embed(
    *,
    to: Annotated[str, typer.Option(help="The name of the new model.", metavar="MODEL")],
    embedder: Annotated[str, typer.Option(help="Returns a vector for each text.", metavar="PACKAGE.MODULE:FUNCTION")],
    tenant: Annotated[list[UUID] | None, typer.Option(help="Only this tenant; repeatable.")] = None,
    batch: Annotated[int, typer.Option(help="Texts per call of the embedder.", min=1, max=1_000)] = 100,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Embed all episodes with another model beside the old embeddings, then switch over in one transaction."""
    run(remembering.run_reembed(Console(), to, embedder, tenant or [], batch, given(home, postgres_url, None)))


@memory.command("reindex-text")
def reindex_text(
    *,
    tenant: Annotated[list[UUID] | None, typer.Option(help="Only this tenant; repeatable.")] = None,
    after: Annotated[str | None, typer.Option(help="Go on behind this cursor.", show_default=False)] = None,
    batch: Annotated[int, typer.Option(help="Texts per statement.", min=1, max=10_000)] = 500,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Let what an earlier release has stored be found as it looks: episodes, entities, rules. Repeatable."""
    run(remembering.run_reindex_text(Console(), tenant or [], after, batch, given(home, postgres_url, None)))


OneSession = Annotated[UUID | None, typer.Option("--session", help="Only this session.", show_default=False)]


@audit.command("verify")
def audit_verify(
    tenant: Tenant,
    *,
    session: OneSession = None,
    anchors: Annotated[
        Path | None, typer.Option(help="Anchors that earlier verifications wrote.", exists=True, dir_okay=False)
    ] = None,
    write_anchors: Annotated[
        Path | None, typer.Option(help="Write the heads of the chains to this file, to be kept elsewhere.")
    ] = None,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Verify the hash chains and bodies of a tenant, or of one session; exit with 1 at the first that was changed."""
    settings = given(home, postgres_url, None)
    run(auditing.run_verify(Console(), tenant, session, anchors, write_anchors, settings))


@audit.command("export")
def audit_export(
    tenant: Tenant,
    output: Annotated[Path, typer.Argument(help="The file to write.", dir_okay=False)],
    *,
    session: OneSession = None,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Write a tenant's records and bodies as JSON Lines, which verify_export.py verifies without convostore."""
    run(auditing.run_export(tenant, session, output, given(home, postgres_url, None)))


@audit.command("prune")
def audit_prune(
    before: Annotated[datetime, typer.Argument(help="A moment in UTC.", formats=["%Y-%m-%d", "%Y-%m"])],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Drop the bodies of all tenants recorded in months that ended before a moment; their records stay."""
    if not yes:
        typer.confirm(f"This deletes the bodies of all tenants recorded before {before:%Y-%m}. Continue?", abort=True)
    run(auditing.run_prune(Console(), before, given(home, postgres_url, None)))


@app.command()
def doctor(
    *,
    as_json: AsJson = False,
    timeout: Annotated[float, typer.Option(help="Seconds that each check may take.", min=0.1)] = 10.0,
    home: Home = None,
    postgres_url: PostgresUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """Check settings, servers, versions and privileges, and name the remedy for each problem."""
    run(diagnosis.run(Console(), given(home, postgres_url, redis_url), as_json=as_json, timeout=timeout))
