"""A database on Citus, named by `CONVOSTORE_TEST_CITUS_URL`, which these tests distribute and leave as it is then."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest

from convostore.postgres import create_pool
from convostore.postgres.distributing import distribute

Pool: TypeAlias = "asyncpg.Pool[Any]"


@pytest.fixture(scope="module")
async def dsn() -> str:
    """The database, distributed."""
    url = os.environ["CONVOSTORE_TEST_CITUS_URL"]
    await distribute(url)
    return url


@pytest.fixture(scope="module")
async def pool(dsn: str, rules: None) -> AsyncIterator[Pool]:
    async with await create_pool(dsn) as opened:
        yield opened
