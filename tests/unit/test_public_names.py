"""The public names. Each is a promise: adding or removing one requires a change here."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from types import ModuleType

import pytest

import convostore

STORES = ("AuditStore", "ConfigStore", "MemoryStore", "ProfileStore", "SessionStore")

MODELS = {
    *("Agent", "AgentConfig", "AgentSettings", "Rule", "Scenario", "ScenarioStep", "StepTransition", "Template"),
    *("ToolActivation", "Turn"),
    *(
        "Variable",
        "AgentConfig",
        "AnchorMigrationPolicy",
        "AnchorTransformation",
        "DeletedNode",
        "MigrationPlan",
        "MigrationSummary",
    ),
    *("ScopeFilter", "StepChanges", "TransformationMap", "PendingMigration", "Session", "StepVisit", "Entity"),
    *(
        "Episode",
        "Neighbourhood",
        "Relationship",
        "SearchHit",
        "AuditEvent",
        "ToolCall",
        "TurnRecord",
        "ChannelIdentity",
        "Consent",
    ),
    *("AuditAnchor", "AuditBody", "AuditHead", "AuditProblem", "AuditRecord", "AuditVerification"),
    *("CustomerProfile", "ItemTrace", "ProfileAsset", "ProfileField"),
}
ENUMS = {
    *("Channel", "ItemStatus", "MigrationPlanStatus", "ProfileFieldSource", "Scope", "SessionStatus"),
    *("TemplateMode", "VariableUpdatePolicy", "VerificationLevel"),
}

BACKENDS = {
    # Calls, and what is declared.
    *("Call", "Model", "Store", "current_call"),
    *("AGENT", "AGENT_OWNED", "CONFIG", "DECLARATIONS", "ENTITY", "EPISODE", "EVENT", "RELATIONSHIP", "RULE"),
    *("SCENARIO_ARCHIVE", "SESSION", "TURN", "Declaration", "RecordType", "Unique", "tenant_of"),
    # Tables and models in them.
    *("NotEnded", "Row", "RowTable", "Started", "Table", "Where", "Window", "valid_at"),
    *("Codec", "Unreadable", "plain_value", "readable"),
    *("RevisionState", "check_distinct", "check_save", "deduplicated", "key_conflict", "managed_values"),
    *("same_content", "set_managed", "take_over", "unique_conflict", "with_defaults"),
    # Stores, and the rules of each.
    *("RowConfigStore", "TableConfigStore", "cosine", "nearest"),
    *(
        "CANDIDATES",
        "EntityFilter",
        "Filter",
        "Meaning",
        "Name",
        "Ranked",
        "Ranking",
        "TableMemoryStore",
        "Words",
        "document",
        "fused",
        "neighbours_in",
        "ranked",
        "read_name",
        "with_context",
        "with_recency",
    ),
    *(
        "BodyAuditStore",
        "check_retention",
        "digest_of",
        "month_dropped",
        "month_of",
        "next_month",
        "next_record",
        "record_id_conflict",
    ),
    "turn_number_conflict",
    *("BaseTurnStore", "TurnParts"),
    *("BaseProfileStore", "Change", "Merge", "LoadedProfile", "identity_key"),
    *(
        "check_scope_filter",
        "check_unbound",
        "fence_conflict",
        "in_scope",
        "new_session",
        "no_such_session",
        "session_id_conflict",
    ),
}

PUBLIC = {
    "convostore": {
        "BackendHealth",
        "Call",
        "Effect",
        "Engine",
        "Engines",
        "Health",
        "Interceptor",
        "Language",
        "Stores",
        "Turn",
        "UnitOfWork",
        "__version__",
        "open_stores",
    },
    "convostore.health": {"BackendHealth", "Health", "app"},
    "convostore.errors": {"ConflictError", "ConnectionError", "NotFoundError", "StoreError", "ValidationError"},
    "convostore.models": MODELS | ENUMS,
    "convostore.contracts": {*STORES, "TurnStore", "UnitOfWork"},
    "convostore.inmemory": {f"InMemory{name}" for name in (*STORES, "TurnStore")},
    "convostore.postgres": {
        *(f"Postgres{name}" for name in (*STORES, "TurnStore")),
        "create_pool",
        "migrate",
        "schema_version",
    },
    "convostore.redis": {"RedisSessionStore", "check_eviction", "create_client", "train_dictionary"},
    "convostore.tiered": {"TieredSessionStore"},
    "convostore.operations.reembedding": {"Embedder", "reembed"},
    "convostore.testing": {f"{name}Contract" for name in (*STORES, "TurnStore", "SessionsByTenant")},
    "convostore.testing.faults": {"Flow", "LostAnswers", "Proxy", "around_attempts", "proxy_to"},
    "convostore.testing.machines": {
        *("AuditMachine", "ConfigMachine", "Machine", "MemoryMachine", "ProfileMachine", "SessionMachine", "check")
    },
    "convostore.backends": BACKENDS,
}


def public_names(module: ModuleType) -> set[str]:
    """Return `__all__`, or else what the module itself defines."""
    if hasattr(module, "__all__"):
        return set(module.__all__)
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }


@pytest.mark.parametrize("name", PUBLIC)
def test_a_module_has_exactly_its_public_names(name: str) -> None:
    found, pinned = public_names(importlib.import_module(name)), PUBLIC[name]
    added, removed = sorted(found - pinned), sorted(pinned - found)
    assert not added, f"{name} has new public names: {added}. Pin them here if they are meant to stay."
    assert not removed, f"{name} lost public names: {removed}. Removing a name breaks its importers."


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_can_be_imported(name: str) -> None:
    module = importlib.import_module(name)
    missing = [public for public in PUBLIC[name] if not hasattr(module, public)]
    assert not missing, f"{name} declares but does not have {missing}"


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_listed_once(name: str) -> None:
    listed = getattr(importlib.import_module(name), "__all__", [])
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_module_has_a_docstring(name: str) -> None:
    assert importlib.import_module(name).__doc__


def test_the_version_is_the_distribution_s() -> None:
    assert convostore.__version__ == version("convostore")
