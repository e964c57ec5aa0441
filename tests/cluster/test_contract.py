"""The contract suite on a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.postgres import PostgresSessionStore, create_pool
from convostore.redis import RedisSessionStore, create_client
from convostore.testing import SessionStoreContract
from convostore.tiered import TieredSessionStore
from tests.cluster.nodes import Cluster


class TestSessionsOnRedis(SessionStoreContract):
    @pytest.fixture
    async def store(self, cluster: Cluster) -> AsyncIterator[SessionStore]:
        async with create_client(cluster.url) as client:
            yield RedisSessionStore(client)


class TestSessionsInTwoTiers(SessionStoreContract):
    @pytest.fixture
    async def store(self, cluster: Cluster, engines: Embedded) -> AsyncIterator[SessionStore]:
        async with await create_pool(engines.postgres_dsn) as pool, create_client(cluster.url) as client:
            store = TieredSessionStore(client, PostgresSessionStore(pool), hot_timeout=5.0, timeout=60.0)
            yield store
            await store.aclose()
            assert store.hot_failures == 0
