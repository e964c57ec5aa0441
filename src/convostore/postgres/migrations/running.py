"""Runs migrations by Alembic, which keeps the version of the schema and gives each migration a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import Script
from alembic.script.revision import RevisionMap
from sqlalchemy import Connection

from convostore.postgres.migrations.propagation import propagation
from convostore.postgres.migrations.scripts import Migration, load


def run(connection: Connection, target: str) -> None:
    """Migrate a database up or down to a version, on a connection of the owner of the schema.

    Of Alembic only its migration context is used, which has no global state: migrations of several databases may run at
    once in a process.
    """
    context = MigrationContext.configure(
        connection,
        opts={
            "version_table_schema": "convostore",
            "transaction_per_migration": True,
            "fn": partial(_steps, connection, target),
        },
    )
    with context.begin_transaction():
        context.run_migrations()


def _steps(connection: Connection, target: str, heads: tuple[str, ...], _: MigrationContext) -> Iterator[MigrationStep]:
    """Yield the migrations between the version that is there and the target, in the direction of the target."""
    migrations = load()
    versions = ["base", *(migration.version for migration in migrations)]
    before = [None, *migrations]
    scripts = [_script(connection, *pair) for pair in zip(before, migrations, strict=False)]
    revisions = RevisionMap(lambda: scripts)
    revisions.heads  # noqa: B018 (links the scripts)
    start, end = versions.index(heads[0] if heads else "base"), versions.index(target)
    yield from (MigrationStep.upgrade_from_script(revisions, script) for script in scripts[start:end])
    yield from (MigrationStep.downgrade_from_script(revisions, script) for script in reversed(scripts[end:start]))


def _script(connection: Connection, previous: Migration | None, migration: Migration) -> Script:
    """Return a migration as the module that Alembic takes a migration for."""

    def execute(statements: tuple[str, ...], reached: Migration | None) -> None:
        for statement in (propagation(), *statements):
            connection.exec_driver_sql(statement)
        if reached:
            connection.exec_driver_sql("UPDATE convostore.alembic_version SET compatible = $1", (reached.compatible,))

    def upgrade() -> None:
        execute(migration.up, migration)

    def downgrade() -> None:
        execute(migration.down, previous)

    module: Any = ModuleType(migration.version, migration.title)
    module.down_revision = previous and previous.version
    module.upgrade, module.downgrade = upgrade, downgrade
    return Script(module, migration.version, module.__name__)
