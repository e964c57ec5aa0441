"""The contract suites of profiles and turns: ten connections share two sessions of the server by the transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest

from convostore.contracts import ProfileStore, TurnStore
from convostore.postgres import PostgresProfileStore, create_pool
from convostore.testing import ProfileStoreContract, TurnStoreContract
from tests.pooler.pgbouncer import Pooler
from tests.postgres.composing import turns_on

Pool: TypeAlias = "asyncpg.Pool[Any]"


@pytest.fixture(scope="module")
async def pool(by_transaction: Pooler, login: str) -> AsyncIterator[Pool]:
    async with await create_pool(by_transaction.dsn(login), pooler="transaction") as opened:
        yield opened


class TestProfiles(ProfileStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> ProfileStore:
        return PostgresProfileStore(pool)


class TestTurns(TurnStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> TurnStore:
        return turns_on(pool)
