"""PgBouncer in both modes before the engine that all tests share, and a login as the stores need it there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from convostore.embedded import Embedded
from tests.pooler.pgbouncer import Pooler, pgbouncer
from tests.postgres.databases import connected

LOGIN = "pooled"
LIMITS = {
    "client_connection_check_interval": "500ms",
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "5s",
    "transaction_timeout": "5s",
}
"""What docs/howto/poolers.md gives the login."""


@pytest.fixture(scope="module")
async def admin(engines: Embedded) -> AsyncIterator[Any]:
    """A superuser's connection to the server itself."""
    async with connected(engines.postgres_dsn) as connection:
        yield connection


@pytest.fixture(scope="module")
async def login(admin: Any) -> AsyncIterator[str]:
    """A user that is a member of the application's role alone, with limits."""
    await admin.execute(f"CREATE ROLE {LOGIN} LOGIN IN ROLE convostore_app")
    for name, value in LIMITS.items():
        await admin.execute(f"ALTER ROLE {LOGIN} SET {name} = '{value}'")
    yield LOGIN
    await admin.execute(f"DROP ROLE {LOGIN}")


@pytest.fixture(scope="module")
async def by_session(engines: Embedded, login: str) -> AsyncIterator[Pooler]:
    """PgBouncer that keeps a session for a connection."""
    async with pgbouncer(engines.postgres_dsn, "session") as running:
        yield running


@pytest.fixture(scope="module")
async def by_transaction(engines: Embedded, login: str) -> AsyncIterator[Pooler]:
    """PgBouncer that hands out two sessions of the server by the transaction."""
    async with pgbouncer(engines.postgres_dsn, "transaction", default_pool_size=2) as running:
        yield running


@pytest.fixture(params=["session", "transaction"])
def pooler(request: pytest.FixtureRequest) -> Pooler:
    """PgBouncer in either mode."""
    running: Pooler = request.getfixturevalue(f"by_{request.param}")
    return running
