"""The contract suite that every backend passes, and factories of models to test with.

A backend is checked by subclassing with one fixture:

    class TestMySessions(SessionStoreContract):
        @pytest.fixture
        def store(self) -> SessionStore:
            return MySessionStore()

The tests are coroutines for pytest-asyncio; `store` may be an async fixture, of any scope.
"""

from convostore.testing.arguments import (
    AuditArgumentContract,
    ConfigArgumentContract,
    MemoryArgumentContract,
    ProfileArgumentContract,
    SessionArgumentContract,
)
from convostore.testing.audit import EventContract, TurnContract
from convostore.testing.audit_batches import AuditBatchContract
from convostore.testing.audit_chains import AuditChainContract, AuditVerificationContract
from convostore.testing.audit_retention import AuditRetentionContract
from convostore.testing.bulk import BulkContract
from convostore.testing.config import ConfigEntityContract
from convostore.testing.config_bulk import ConfigBulkContract, ConfigReadingContract
from convostore.testing.config_special import AgentContract, OtherConfigContract, RuleContract, RuleSearchContract
from convostore.testing.graph import EntityContract, RelationshipContract, TraversalContract
from convostore.testing.memory import EpisodeContract, EpisodeSearchContract, ForgettingContract
from convostore.testing.merging import MergeContract
from convostore.testing.profile_history import ProfileHistoryContract, ProfileListContract
from convostore.testing.profiles import FieldContract, IdentityContract, ProfileRowContract
from convostore.testing.session_locks import SessionLockContract
from convostore.testing.session_steps import SessionStepContract
from convostore.testing.sessions import SessionListContract, SessionRowContract
from convostore.testing.temporal import FindingContract, NeighbourhoodContract, TemporalContract
from convostore.testing.text_search import HybridSearchContract, TextSearchContract
from convostore.testing.unmerging import UnmergeContract
from convostore.testing.vectors import EmbeddingMigrationContract, VectorSearchContract


class SessionStoreContract(
    SessionRowContract, SessionListContract, SessionStepContract, SessionArgumentContract, SessionLockContract
):
    """What every session store does."""


class ConfigStoreContract(
    ConfigEntityContract,
    ConfigBulkContract,
    ConfigReadingContract,
    AgentContract,
    RuleContract,
    RuleSearchContract,
    OtherConfigContract,
    ConfigArgumentContract,
):
    """What every configuration store does."""


class MemoryStoreContract(
    EpisodeContract,
    EpisodeSearchContract,
    TextSearchContract,
    HybridSearchContract,
    VectorSearchContract,
    EmbeddingMigrationContract,
    ForgettingContract,
    BulkContract,
    EntityContract,
    RelationshipContract,
    TraversalContract,
    TemporalContract,
    FindingContract,
    NeighbourhoodContract,
    MemoryArgumentContract,
):
    """What every memory store does."""


class AuditStoreContract(
    TurnContract,
    EventContract,
    AuditBatchContract,
    AuditChainContract,
    AuditVerificationContract,
    AuditRetentionContract,
    AuditArgumentContract,
):
    """What every audit store does."""


class ProfileStoreContract(
    ProfileRowContract,
    IdentityContract,
    FieldContract,
    ProfileHistoryContract,
    ProfileListContract,
    MergeContract,
    UnmergeContract,
    ProfileArgumentContract,
):
    """What every profile store does."""


__all__ = [
    "AuditStoreContract",
    "ConfigStoreContract",
    "MemoryStoreContract",
    "ProfileStoreContract",
    "SessionStoreContract",
]
