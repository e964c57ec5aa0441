"""An application's own Alembic run migrates convostore as well: before its revisions, or inside one of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from convostore.embedded import Embedded
from convostore.postgres import schema_version
from convostore.postgres.migrations import HEAD
from tests.postgres.databases import connected, fresh_database

pytestmark = pytest.mark.slow

ENV = """
import asyncio

from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

from convostore.postgres import migrate

dsn, where = (context.config.get_main_option(name) for name in ("dsn", "where"))


async def connect():
    import asyncpg

    return await asyncpg.connect(dsn)


def run(connection):
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


async def main():
    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda *_, **__: connect())
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


async def both():
    if where == "before":
        await migrate(dsn)
    await main()


asyncio.run(both())
"""
REVISION = """
from alembic import context, op
from convostore.postgres import migrate

revision, down_revision = "a1", None


def upgrade():
    op.execute("CREATE TABLE public.first ()")
    if context.config.get_main_option("where") == "inside":
        op.run_async(lambda connection: migrate(context.config.get_main_option("dsn")))
    op.execute("CREATE TABLE public.second ()")


def downgrade():
    op.execute("DROP TABLE public.first, public.second")
"""


@pytest.fixture
async def empty(engines: Embedded) -> AsyncIterator[str]:
    """The DSN of an empty database."""
    async with fresh_database(engines.postgres_dsn) as dsn:
        yield dsn


async def names(dsn: str) -> tuple[set[str], str | None]:
    """Return the tables of the application, and its own revision."""
    async with connected(dsn) as admin:
        tables = await admin.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        revision: str | None = await admin.fetchval("SELECT version_num FROM public.alembic_version")
        return {name for (name,) in tables}, revision


@pytest.mark.parametrize("where", ["before", "inside"])
async def test_an_application_migrates_convostore_in_its_own_run(empty: str, tmp_path: Path, where: str) -> None:
    for name, text in (("env.py", ENV), ("versions/a1.py", REVISION)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    config = Config()
    for option, value in (("script_location", str(tmp_path)), ("dsn", empty), ("where", where)):
        config.set_main_option(option, value.replace("%", "%%"))
    await asyncio.to_thread(command.upgrade, config, "head")
    assert await names(empty) == ({"alembic_version", "first", "second"}, "a1")
    assert await schema_version(empty) == HEAD
    # Each has a version table of its own, so either may go down alone.
    await asyncio.to_thread(command.downgrade, config, "base")
    assert await names(empty) == ({"alembic_version"}, None)
    assert await schema_version(empty) == HEAD
