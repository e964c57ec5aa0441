"""What the author of a further backend needs; `docs/howto/add-a-backend.md` writes one with it.

A backend is a class per contract. Those of configuration, memory, audit and profiles are written once above a few
methods of the backend, that of sessions is implemented as it is. Methods are plain: the interceptors that surround each
call have checked and copied its arguments, bound the tenant, set the deadline, and repeat and translate what fails.
"""

from convostore.call.call import Call, current_call
from convostore.call.store import Store
from convostore.domain.audit import (
    check_retention,
    month_dropped,
    month_of,
    next_month,
    next_record,
    record_id_conflict,
    turn_number_conflict,
)
from convostore.domain.codec import Codec, Unreadable, plain_value, readable
from convostore.domain.declaration import Declaration, RecordType, Unique, tenant_of
from convostore.domain.declarations import (
    AGENT,
    AGENT_OWNED,
    CONFIG,
    DECLARATIONS,
    ENTITY,
    EPISODE,
    EVENT,
    RELATIONSHIP,
    RULE,
    SCENARIO_ARCHIVE,
    SESSION,
    TURN,
)
from convostore.domain.fusion import CANDIDATES, fused, neighbours_in, with_context, with_recency
from convostore.domain.profile_change import Change, LoadedProfile, Merge, identity_key
from convostore.domain.revisions import (
    RevisionState,
    check_distinct,
    check_save,
    deduplicated,
    key_conflict,
    managed_values,
    same_content,
    set_managed,
    take_over,
    unique_conflict,
    with_defaults,
)
from convostore.domain.scopes import check_scope_filter, in_scope
from convostore.domain.scoring import cosine, nearest
from convostore.domain.sessions import check_unbound, fence_conflict, new_session, no_such_session, session_id_conflict
from convostore.domain.text import Name, Ranked, document, ranked, read_name
from convostore.domain.verify_export import digest_of
from convostore.gateway.audit import BodyAuditStore
from convostore.gateway.config import RowConfigStore, TableConfigStore
from convostore.gateway.memory import EntityFilter, Filter, Meaning, Ranking, TableMemoryStore, Words
from convostore.gateway.profile import BaseProfileStore
from convostore.gateway.rows import Row, RowTable
from convostore.gateway.table import NotEnded, Started, Table, Where, Window, valid_at
from convostore.gateway.turn import BaseTurnStore, TurnParts
from convostore.models.base import Model

__all__ = [
    "AGENT",
    "AGENT_OWNED",
    "CANDIDATES",
    "CONFIG",
    "DECLARATIONS",
    "ENTITY",
    "EPISODE",
    "EVENT",
    "RELATIONSHIP",
    "RULE",
    "SCENARIO_ARCHIVE",
    "SESSION",
    "TURN",
    "BaseProfileStore",
    "BaseTurnStore",
    "BodyAuditStore",
    "Call",
    "Change",
    "Codec",
    "Declaration",
    "EntityFilter",
    "Filter",
    "LoadedProfile",
    "Meaning",
    "Merge",
    "Model",
    "Name",
    "NotEnded",
    "Ranked",
    "Ranking",
    "RecordType",
    "RevisionState",
    "Row",
    "RowConfigStore",
    "RowTable",
    "Started",
    "Store",
    "Table",
    "TableConfigStore",
    "TableMemoryStore",
    "TurnParts",
    "Unique",
    "Unreadable",
    "Where",
    "Window",
    "Words",
    "check_distinct",
    "check_retention",
    "check_save",
    "check_scope_filter",
    "check_unbound",
    "cosine",
    "current_call",
    "deduplicated",
    "digest_of",
    "document",
    "fence_conflict",
    "fused",
    "identity_key",
    "in_scope",
    "key_conflict",
    "managed_values",
    "month_dropped",
    "month_of",
    "nearest",
    "neighbours_in",
    "new_session",
    "next_month",
    "next_record",
    "no_such_session",
    "plain_value",
    "ranked",
    "read_name",
    "readable",
    "record_id_conflict",
    "same_content",
    "session_id_conflict",
    "set_managed",
    "take_over",
    "tenant_of",
    "turn_number_conflict",
    "unique_conflict",
    "valid_at",
    "with_context",
    "with_defaults",
    "with_recency",
]
