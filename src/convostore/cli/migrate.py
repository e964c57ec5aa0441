"""`convostore migrate`: the schema of a database, up or down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import typer
from rich.console import Console

from convostore.cli.database import postgres_dsn
from convostore.postgres import migrate, schema_version
from convostore.postgres.migrations import HEAD, VERSIONS, prepare_roles
from convostore.postgres.migrations.printing import migration_sql, roles_sql
from convostore.settings import load_settings


async def run(console: Console, revision: str, given: dict[str, Any], *, dry_run: bool) -> bool:
    """Migrate, and print from which revision to which."""
    async with _database(given) as dsn:
        before, target = await schema_version(dsn), HEAD if revision == "head" else revision
        if dry_run:
            steps = "nothing to do" if before == target or before not in VERSIONS else f"would migrate to {target}"
            console.print(f"The schema is at revision {before}; {steps}.", highlight=False)
            return True
        await migrate(dsn, revision)
        after = await schema_version(dsn)
    done = "as before" if before == after else f"migrated from {before}"
    console.print(f"The schema is at revision {after}, {done}.", highlight=False)
    return True


async def status(console: Console, given: dict[str, Any]) -> bool:
    """Print the revision of the schema and that of this release; return whether this release works with it."""
    async with _database(given) as dsn:
        version = await schema_version(dsn)
    if version == HEAD:
        verdict = "that of this release"
    elif version in VERSIONS:
        verdict = f"this release works with {HEAD}; run: convostore migrate"
    else:
        verdict = f"of a newer release, which declares that this one ({HEAD}) works with it"
    console.print(f"The schema is at revision {version}: {verdict}.", highlight=False)
    return version == HEAD or version not in VERSIONS


async def print_sql(start: str, target: str) -> bool:
    """Print the statements that lead from one revision to another."""
    typer.echo(migration_sql(start, HEAD if target == "head" else target), nl=False)
    return True


async def prepare(console: Console, login: str, given: dict[str, Any], *, sql: bool) -> bool:
    """Run the statements of an administrator for a login, or print them."""
    if sql:
        typer.echo(roles_sql(login), nl=False)
        return True
    async with _database(given) as dsn:
        await prepare_roles(dsn, login)
    console.print(f"{login} may migrate this database.", highlight=False)
    return True


@asynccontextmanager
async def _database(given: dict[str, Any]) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        yield await postgres_dsn(load_settings(given), stack)
