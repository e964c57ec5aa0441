"""`convostore migrate`: the schema of a database, up or down."""

from __future__ import annotations

from typing import Annotated

import typer

from convostore.cli.options import AsJson, Home, PostgresUrl, Yes, confirm, given, run

migrate = typer.Typer(name="migrate")

Sql = Annotated[bool, typer.Option("--sql", help="Print the statements instead; connects to nothing.")]


Citus = Annotated[
    bool,
    typer.Option(
        "--citus", help="Also distribute the tables by tenant over the nodes of Citus; the URL is its coordinator's."
    ),
]
SessionsByTenant = Annotated[
    bool | None,
    typer.Option(
        "--sessions-by-tenant/--sessions-across-tenants",
        help="Keep session ids unique per tenant alone, or across tenants; stop all processes first.",
    ),
]


@migrate.callback(invoke_without_command=True)
def migrate_schema(
    context: typer.Context,
    *,
    revision: Annotated[str, typer.Option("--revision", "--to", help='"head", "base" or a number.')] = "head",
    start: Annotated[str, typer.Option("--from", help="With --sql: the revision that is there.")] = "base",
    sql: Sql = False,
    citus: Citus = False,
    sessions_by_tenant: SessionsByTenant = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Migrate the schema to a revision; "base" removes the schema and all data in it."""
    if context.invoked_subcommand:
        return
    from convostore.cli import migrating

    if sql:
        run(migrating.print_sql(start, revision, as_json=as_json))
    if revision == "base" and not (yes or dry_run):
        confirm("This deletes the schema convostore and all data in it. Continue?")
    if citus:
        run(migrating.distribute(given(home, postgres_url), as_json=as_json))
    ids = sessions_by_tenant
    run(
        migrating.migrate(revision, given(home, postgres_url), sessions_by_tenant=ids, dry_run=dry_run, as_json=as_json)
    )


@migrate.command("status")
def migrate_status(*, as_json: AsJson = False, home: Home = None, postgres_url: PostgresUrl = None) -> None:
    """Say which revision the schema has, and whether this release works with it."""
    from convostore.cli import migrating

    run(migrating.status(given(home, postgres_url), as_json=as_json))


@migrate.command("roles")
def migrate_roles(
    *,
    login: Annotated[str, typer.Option(help="The user that migrates, and may run the application.")],
    sql: Sql = False,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """As an administrator, make roles, extension and schema for a user without privileges on roles."""
    from convostore.cli import migrating

    run(migrating.prepare(login, given(home, postgres_url), sql=sql, as_json=as_json))
