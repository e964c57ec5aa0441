"""A cluster of Citus: `CONVOSTORE_TEST_CITUS_URL` names a database on its coordinator.

Modules distribute it, and leave it with what they wrote. The one that distributes a filled database starts from
nothing: where the schema is there already it drops it, with all rows in it, the extension `vector` and the roles, and
is skipped unless the name of the database contains `test`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest

from convostore.postgres import create_pool
from convostore.postgres.distributing import distribute
from convostore.postgres.distribution import ROLES
from tests.postgres.databases import connected

Pool: TypeAlias = "asyncpg.Pool[Any]"
DROPPING = {"citus.enable_unsafe_triggers": "on", "citus.multi_shard_modify_mode": "sequential"}
"""What it takes to drop tables that have triggers, and some that every node has, in one transaction."""

DROP_ROLES = f"""
DO $$
BEGIN
    PERFORM set_config('citus.enable_ddl_propagation', 'off', true);
    DROP ROLE IF EXISTS {", ".join(ROLES)};
END
$$
"""
"""Of roles that were made on each node."""


def needs(module: str, *names: str) -> None:
    """Skip a module, unless these variables are set."""
    for name in names:
        if f"CONVOSTORE_TEST_CITUS_{name}" not in os.environ:
            reason = f"{module}: CONVOSTORE_TEST_CITUS_{name} is not set; see docs/howto/citus.md"
            pytest.skip(reason, allow_module_level=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave a module the time to distribute its tables, which counts as its first test's."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="module", autouse=True)
def noted() -> Iterator[None]:
    """Adds to an error of the server the statement that it refused, and where in a function."""

    def noting(execute: Any) -> Any:
        async def run(self: Any, query: str, *arguments: Any, **more: Any) -> Any:
            try:
                return await execute(self, query, *arguments, **more)
            except asyncpg.PostgresError as error:
                if not hasattr(error, "__notes__"):
                    error.add_note(f"SQLSTATE {error.sqlstate}: {query}\n{getattr(error, 'context', '') or ''}".strip())
                raise

        return run

    with pytest.MonkeyPatch.context() as patched:
        for name in ("execute", "_execute", "_executemany"):
            patched.setattr(asyncpg.Connection, name, noting(getattr(asyncpg.Connection, name)))
        yield


@pytest.fixture(scope="module")
async def emptied(noted: None) -> str:
    """The database, without anything of convostore."""
    url = os.environ["CONVOSTORE_TEST_CITUS_URL"]
    async with connected(url, **DROPPING) as admin:
        if await admin.fetchval("SELECT to_regnamespace('convostore') IS NULL"):
            return url
        if "test" not in (name := await admin.fetchval("SELECT current_database()")):
            pytest.skip(f"CONVOSTORE_TEST_CITUS_URL: {name} has the schema, and no test in its name: it is not emptied")
        await admin.execute("DROP SCHEMA IF EXISTS convostore CASCADE")
        await admin.execute("DROP EXTENSION IF EXISTS vector")
        # Another database may need them.
        with suppress(asyncpg.PostgresError):
            await admin.execute(f"DROP ROLE IF EXISTS {', '.join(ROLES)}")
            await admin.execute("SELECT FROM run_command_on_workers($1)", DROP_ROLES)
    return url


@pytest.fixture(scope="module")
async def prepared(noted: None) -> str:
    """The database, distributed."""
    url = os.environ["CONVOSTORE_TEST_CITUS_URL"]
    await distribute(url)
    return url


@pytest.fixture(scope="module")
def dsn(prepared: str) -> str:
    """The same, by the name that tests give it which also run on one server."""
    return prepared


@pytest.fixture(scope="module")
async def pool(prepared: str) -> AsyncIterator[Pool]:
    async with await create_pool(prepared) as opened:
        yield opened
