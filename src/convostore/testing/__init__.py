"""The contract suite that every backend passes, and factories of models to test with.

A backend is checked by subclassing with one fixture:

    class TestMySessions(SessionStoreContract):
        @pytest.fixture
        def store(self) -> SessionStore:
            return MySessionStore()

The tests are coroutines for pytest-asyncio; `store` may be an async fixture, of any scope.
"""

try:
    import pytest  # noqa: F401
except ModuleNotFoundError:
    raise ModuleNotFoundError('convostore.testing needs: pip install "convostore[testing]"', name="pytest") from None

from convostore.testing.arguments import (
    AuditArgumentContract,
    ConfigArgumentContract,
    MemoryArgumentContract,
    ProfileArgumentContract,
    SessionArgumentContract,
)
from convostore.testing.audit.batches import AuditBatchContract
from convostore.testing.audit.chains import AuditChainContract, AuditVerificationContract
from convostore.testing.audit.records import EventContract, TurnContract
from convostore.testing.audit.retention import AuditRetentionContract
from convostore.testing.audit.steps import AuditStepsContract
from convostore.testing.bad_input import BadInputContract
from convostore.testing.config.agent_cascades import AgentCascadeContract
from convostore.testing.config.agent_configs import AgentConfigContract
from convostore.testing.config.bulk_saves import ConfigBulkSaveContract
from convostore.testing.config.deletes import ConfigDeleteContract
from convostore.testing.config.lists import ConfigFilterContract, ConfigListContract
from convostore.testing.config.lookups import LookupContract
from convostore.testing.config.migration_plans import MigrationPlanContract
from convostore.testing.config.rule_search import RuleHybridSearchContract, RuleSearchContract
from convostore.testing.config.saves import ConfigSaveContract
from convostore.testing.config.scenario_archives import ScenarioArchiveContract
from convostore.testing.config.unique_sets import UniqueSetContract
from convostore.testing.isolation.contract import IsolationContract
from convostore.testing.memory.bulk_adds import BulkAddContract
from convostore.testing.memory.entity_names import EntityNameContract
from convostore.testing.memory.episodes import BulkDeleteContract, EpisodeContract, EpisodeSearchContract
from convostore.testing.memory.graph import EntityContract, RelationshipContract, TraversalContract
from convostore.testing.memory.hybrid_search import HybridSearchContract
from convostore.testing.memory.languages import LanguageContract
from convostore.testing.memory.look_alikes import LookAlikeContract
from convostore.testing.memory.ranking import RankingContract
from convostore.testing.memory.temporal import EntitySearchContract, NeighbourhoodContract, ValidityContract
from convostore.testing.memory.text_search import TextSearchContract
from convostore.testing.memory.vector_search import EmbeddingMigrationContract, VectorSearchContract
from convostore.testing.profile.fields import FieldContract
from convostore.testing.profile.history import ProfileHistoryContract, ProfileListContract
from convostore.testing.profile.merging import MergeContract
from convostore.testing.profile.profiles import IdentityContract, ProfileSaveContract
from convostore.testing.profile.unmerging import UnmergeContract
from convostore.testing.session.by_tenant import SessionsByTenantContract as _ByTenant
from convostore.testing.session.identities import SessionIdentityContract
from convostore.testing.session.lists import SessionListContract
from convostore.testing.session.locks import SessionLockContract
from convostore.testing.session.sessions import SessionSaveContract
from convostore.testing.session.staleness import SessionStalenessContract
from convostore.testing.session.steps import SessionStepContract
from convostore.testing.turn.arguments import UnitArgumentContract
from convostore.testing.turn.loading import TurnLoadContract
from convostore.testing.turn.refusals import UnitRefusalContract
from convostore.testing.turn.repetition import UnitRepetitionContract
from convostore.testing.turn.units import UnitOfWorkContract


class SessionStoreContract(
    SessionSaveContract,
    SessionStalenessContract,
    SessionIdentityContract,
    SessionListContract,
    SessionStepContract,
    SessionArgumentContract,
    SessionLockContract,
    BadInputContract,
    IsolationContract,
):
    """What every session store does."""


class SessionsByTenantContract(_ByTenant, SessionStoreContract):
    """What every session store does whose ids are unique per tenant alone; override the fixture `by_tenant`."""


class ConfigStoreContract(
    ConfigSaveContract,
    ConfigDeleteContract,
    UniqueSetContract,
    ConfigListContract,
    ConfigFilterContract,
    ConfigBulkSaveContract,
    AgentCascadeContract,
    AgentConfigContract,
    RuleSearchContract,
    RuleHybridSearchContract,
    LookupContract,
    MigrationPlanContract,
    ScenarioArchiveContract,
    ConfigArgumentContract,
    BadInputContract,
    IsolationContract,
):
    """What every configuration store does."""


class MemoryStoreContract(
    EpisodeContract,
    EpisodeSearchContract,
    TextSearchContract,
    HybridSearchContract,
    RankingContract,
    VectorSearchContract,
    EmbeddingMigrationContract,
    BulkDeleteContract,
    BulkAddContract,
    LanguageContract,
    EntityContract,
    RelationshipContract,
    TraversalContract,
    ValidityContract,
    EntitySearchContract,
    EntityNameContract,
    LookAlikeContract,
    NeighbourhoodContract,
    MemoryArgumentContract,
    BadInputContract,
    IsolationContract,
):
    """What every memory store does."""


class AuditStoreContract(
    TurnContract,
    EventContract,
    AuditBatchContract,
    AuditChainContract,
    AuditVerificationContract,
    AuditStepsContract,
    AuditRetentionContract,
    AuditArgumentContract,
    BadInputContract,
    IsolationContract,
):
    """What every audit store does."""


class ProfileStoreContract(
    ProfileSaveContract,
    IdentityContract,
    FieldContract,
    ProfileHistoryContract,
    ProfileListContract,
    MergeContract,
    UnmergeContract,
    ProfileArgumentContract,
    BadInputContract,
    IsolationContract,
):
    """What every profile store does."""


class TurnStoreContract(
    UnitOfWorkContract,
    UnitRepetitionContract,
    UnitRefusalContract,
    UnitArgumentContract,
    TurnLoadContract,
):
    """What every store of turns does, and the five that it stands on."""


__all__ = [
    "AuditStoreContract",
    "ConfigStoreContract",
    "MemoryStoreContract",
    "ProfileStoreContract",
    "SessionStoreContract",
    "SessionsByTenantContract",
    "TurnStoreContract",
]
