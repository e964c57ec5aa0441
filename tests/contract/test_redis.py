"""The contract suite on Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.redis import RedisSessionStore, create_client
from convostore.testing import SessionsByTenantContract, SessionStoreContract


class TestSessions(SessionStoreContract):
    @pytest.fixture
    async def store(self, engines: Embedded) -> AsyncIterator[SessionStore]:
        async with create_client(engines.redis_url) as client:
            yield RedisSessionStore(client)


class TestSessionsByTenant(SessionsByTenantContract):
    @pytest.fixture
    async def by_tenant(self, engines: Embedded) -> AsyncIterator[SessionStore]:
        async with create_client(engines.redis_url) as client:
            yield RedisSessionStore(client, sessions_by_tenant=True)
