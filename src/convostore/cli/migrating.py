"""What the commands of `convostore migrate` do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from convostore.cli.database import postgres_dsn
from convostore.cli.output import report
from convostore.cli.progress import waiting
from convostore.postgres import distributing, schema_version
from convostore.postgres import migrate as migrated
from convostore.postgres.migrations import HEAD, VERSIONS, keep_session_ids, prepare_roles
from convostore.postgres.migrations.printing import migration_sql, roles_sql
from convostore.settings import load_settings


async def migrate(
    revision: str, given: dict[str, Any], *, sessions_by_tenant: bool | None, dry_run: bool, as_json: bool
) -> bool:
    """Migrate, and print from which revision to which."""
    async with _database(given) as dsn:
        before, target = await schema_version(dsn), HEAD if revision == "head" else revision
        if dry_run:
            after = before if before not in VERSIONS else target
            steps = "nothing to do" if before == after else f"would migrate to {after}"
            said = f"The schema is at revision {before}; {steps}."
        else:
            with waiting(f"Migrating from {before} to {target}"):
                await migrated(dsn, revision)
            after = await schema_version(dsn)
            done = "as before" if before == after else f"migrated from {before}"
            said = f"The schema is at revision {after}, {done}."
            if sessions_by_tenant is not None:
                await keep_session_ids(dsn, by_tenant=sessions_by_tenant)
                said += f" Session ids are unique {'per tenant' if sessions_by_tenant else 'across tenants'}."
    report(said, as_json=as_json, before=before, after=after, dry_run=dry_run)
    return True


async def distribute(given: dict[str, Any], *, as_json: bool) -> bool:
    """Migrate and distribute, and print which tables were distributed."""
    async with _database(given) as dsn:
        with waiting("Migrating, and distributing tables"):
            tables = await distributing.distribute(dsn)
        version = await schema_version(dsn)
    done = f"distributed {len(tables)} tables" if tables else "all tables were distributed before"
    report(f"The schema is at revision {version}; {done}.", as_json=as_json, after=version, distributed=tables)
    return True


async def status(given: dict[str, Any], *, as_json: bool) -> bool:
    """Print the revision of the schema and that of this release; return whether this release works with it."""
    async with _database(given) as dsn:
        version = await schema_version(dsn)
    works = version == HEAD or version not in VERSIONS
    if version == HEAD:
        verdict = "that of this release"
    elif version in VERSIONS:
        verdict = f"this release works with {HEAD}; run: convostore migrate"
    else:
        verdict = f"of a newer release, which declares that this one ({HEAD}) works with it"
    said = f"The schema is at revision {version}: {verdict}."
    report(said, as_json=as_json, revision=version, release=HEAD, works=works)
    return works


async def print_sql(start: str, target: str, *, as_json: bool) -> bool:
    """Print the statements that lead from one revision to another."""
    text = migration_sql(start, HEAD if target == "head" else target)
    report(text.removesuffix("\n"), as_json=as_json, sql=text)
    return True


async def prepare(login: str, given: dict[str, Any], *, sql: bool, as_json: bool) -> bool:
    """Run the statements of an administrator for a login, or print them."""
    text = roles_sql(login)
    if sql:
        report(text.removesuffix("\n"), as_json=as_json, sql=text)
        return True
    async with _database(given) as dsn:
        await prepare_roles(dsn, login)
    report(f"{login} may migrate this database.", as_json=as_json, login=login)
    return True


@asynccontextmanager
async def _database(given: dict[str, Any]) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        yield await postgres_dsn(load_settings(given), stack)
