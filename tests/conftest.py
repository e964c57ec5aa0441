"""Real engines for the tests: one pair per test session, started when first asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convostore.embedded import Embedded, open_embedded
from convostore.postgres import migrate


@pytest.fixture(scope="session")
async def engines() -> AsyncIterator[Embedded]:
    """PostgreSQL 18, migrated, and Valkey."""
    async with open_embedded(ephemeral=True) as opened:
        await migrate(opened.postgres_dsn)
        yield opened


@pytest.fixture(scope="session")
async def postgres16() -> AsyncIterator[Embedded]:
    """PostgreSQL 16, migrated."""
    async with open_embedded(ephemeral=True, valkey=False, postgres_version=16) as opened:
        await migrate(opened.postgres_dsn)
        yield opened
