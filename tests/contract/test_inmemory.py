"""The contract suite on the in-memory reference."""

import pytest

from convostore.contracts import AuditStore, ConfigStore, MemoryStore, ProfileStore, SessionStore, TurnStore
from convostore.inmemory import (
    InMemoryAuditStore,
    InMemoryConfigStore,
    InMemoryMemoryStore,
    InMemoryProfileStore,
    InMemorySessionStore,
    InMemoryTurnStore,
)
from convostore.testing import (
    AuditStoreContract,
    ConfigStoreContract,
    MemoryStoreContract,
    ProfileStoreContract,
    SessionsByTenantContract,
    SessionStoreContract,
    TurnStoreContract,
)


class TestSessions(SessionStoreContract):
    @pytest.fixture
    def store(self) -> SessionStore:
        return InMemorySessionStore()


class TestSessionsByTenant(SessionsByTenantContract):
    @pytest.fixture
    def by_tenant(self) -> SessionStore:
        return InMemorySessionStore(sessions_by_tenant=True)


class TestConfig(ConfigStoreContract):
    @pytest.fixture
    def store(self) -> ConfigStore:
        return InMemoryConfigStore()


class TestMemory(MemoryStoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return InMemoryMemoryStore()


class TestAudit(AuditStoreContract):
    @pytest.fixture
    def store(self) -> AuditStore:
        return InMemoryAuditStore()


class TestProfiles(ProfileStoreContract):
    @pytest.fixture
    def store(self) -> ProfileStore:
        return InMemoryProfileStore()


class TestTurns(TurnStoreContract):
    @pytest.fixture
    def store(self) -> TurnStore:
        return InMemoryTurnStore(
            InMemorySessionStore(),
            InMemoryConfigStore(),
            InMemoryMemoryStore(),
            InMemoryAuditStore(),
            InMemoryProfileStore(),
        )
