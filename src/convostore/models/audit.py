"""What happened: turns, tool calls and events, none of which ever change, and the proof that they did not."""

from __future__ import annotations

from datetime import date
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from convostore.models.base import FrozenModel
from convostore.models.fields import (
    Body,
    Count,
    Identifier,
    Json,
    JsonObject,
    Sha256,
    Text,
    TypeName,
    UtcDatetime,
    Version,
    new_id,
    now,
)

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A duration in milliseconds, not negative."""


class ToolCall(FrozenModel):
    """One call of a tool during a turn."""

    tool_id: Identifier
    """Identifier of the tool, 1 to 200 characters."""
    tool_name: Identifier
    """Name of the tool at the time of the call, 1 to 200 characters."""
    input: JsonObject
    """Arguments of the call, a JSON object of at most 1 MiB."""
    output: Json
    """Result of the call, any JSON of at most 1 MiB."""
    success: bool
    """Whether the tool succeeded."""
    error: Text | None = None
    """Why the tool failed, at most 1 MiB; None if it succeeded or gave no reason."""
    latency_ms: Milliseconds
    """Duration of the call in milliseconds, 0 or more."""


class TurnRecord(FrozenModel):
    """One exchange between a user and an agent."""

    turn_id: UUID = Field(default_factory=new_id)
    """Primary key within the tenant; a UUID of version 7 if omitted."""
    tenant_id: UUID
    """Tenant that owns the turn; no other tenant can read it."""
    agent_id: UUID
    """Agent that responded; not checked to exist."""
    session_id: UUID
    """Session of the turn, not checked to exist; its hash chain holds the turn."""
    customer_profile_id: UUID | None = None
    """Profile of the customer, not checked to exist; None if unknown."""
    turn_number: Count
    """Position in the session, 0 or more, unique within it, set by the caller."""
    user_message: Text
    """What the user said, at most 1 MiB; may be empty."""
    agent_response: Text
    """What the agent responded, at most 1 MiB; may be empty."""
    matched_rule_ids: list[UUID] = Field(default_factory=list)
    """Rules that applied in the turn."""
    scenario_id: UUID | None = None
    """Scenario in progress; None outside scenarios."""
    step_id: UUID | None = None
    """Scenario step in progress; None outside scenarios."""
    tool_calls: list[ToolCall] = Field(default_factory=list)
    """Calls of tools during the turn, in the order given."""
    template_ids_used: list[UUID] = Field(default_factory=list)
    """Templates that the response is based on."""
    latency_ms: Milliseconds
    """Duration of the turn in milliseconds, 0 or more."""
    tokens_used: Count
    """Tokens of the language model that the turn consumed, 0 or more."""
    metadata: JsonObject = Field(default_factory=dict)
    """JSON object of the caller, at most 1 MiB, which no store interprets."""
    timestamp: UtcDatetime = Field(default_factory=now)
    """Time of the turn (UTC), now if omitted; lists of a tenant are ordered by it, newest first."""


class AuditEvent(FrozenModel):
    """Something worth recording besides a turn."""

    gained: ClassVar[tuple[str, ...]] = ("customer_profile_id",)

    id: UUID = Field(default_factory=new_id)
    """Primary key within the tenant; a UUID of version 7 if omitted."""
    tenant_id: UUID
    """Tenant that owns the event; no other tenant can read it."""
    event_type: TypeName
    """Type of the event, chosen by the caller, 1 to 100 characters; lists filter by it."""
    event_data: JsonObject
    """Content of the event, a JSON object of at most 1 MiB, which no store interprets."""
    session_id: UUID | None = None
    """Session whose hash chain holds the event, not checked to exist; None for the tenant's own chain."""
    turn_id: UUID | None = None
    """Turn during which the event happened, not checked to exist; None for no turn."""
    customer_profile_id: UUID | None = None
    """Profile of the customer whom the event concerns, not checked to exist; None for none."""
    timestamp: UtcDatetime = Field(default_factory=now)
    """Time of the event (UTC), now if omitted; lists are ordered by it, newest first."""


RecordKind = Literal["turn", "event"]
"""What an audit record records."""


class AuditRecord(FrozenModel):
    """One link of a hash chain: that a turn or event was recorded. `convostore.domain.verify_export` says how."""

    version: Version
    """Version of the byte form that is hashed, 1 or more."""
    tenant_id: UUID
    """Tenant that owns the chain."""
    kind: RecordKind
    """Whether the record is of a turn or of an event."""
    record_id: UUID
    """Id of the turn or event."""
    session_id: UUID | None = None
    """Session whose chain holds the record; None for the tenant's own chain, of events without a session."""
    turn_number: Count | None = None
    """Position of the turn in its session, 0 or more; None for an event."""
    sequence: Count
    """Position in the chain, counted from 1."""
    recorded_at: UtcDatetime
    """Time at which the store received the turn or event (UTC), set by the store."""
    previous_hash: Sha256
    """`hash` of the preceding record of the chain, 64 hexadecimal digits; 64 zeros for the first."""
    digest: Sha256
    """SHA-256 of the body in UTF-8, 64 lower-case hexadecimal digits."""
    hash: Sha256
    """SHA-256 of the fields from `version` to `digest`, 64 lower-case hexadecimal digits."""
    body: Body | None = None
    """Turn or event in its canonical form, JSON of at most 1 GiB; None if it is dropped or missing."""
    body_dropped: bool = False
    """Whether retention noted the bodies of its month as dropped; with a body, that shows tampering."""
    misfiled: bool = False
    """Whether the columns that lists filter by contradict the body, which shows tampering."""

    @property
    def anchor(self) -> AuditAnchor:
        """The anchor of its chain up to here."""
        return AuditAnchor(tenant_id=self.tenant_id, session_id=self.session_id, sequence=self.sequence, hash=self.hash)


class AuditAnchor(FrozenModel):
    """The last record of a chain at some time: kept elsewhere, it proves that the chain up to it is unchanged."""

    tenant_id: UUID
    """Tenant that owns the chain."""
    session_id: UUID | None = None
    """Session of the chain; None for the tenant's own chain."""
    sequence: Count
    """Position of the record in the chain, counted from 1."""
    hash: Sha256
    """`hash` of the record, 64 lower-case hexadecimal digits."""


class AuditHead(FrozenModel):
    """The end of a chain according to the backend's note of it, and according to its records."""

    tenant_id: UUID
    """Tenant that owns the chain."""
    session_id: UUID | None = None
    """Session of the chain; None for the tenant's own chain."""
    sequence: Count
    """Noted `sequence` of the last record, 0 if nothing is noted; more than `recorded` if records are missing."""
    recorded: Count
    """`sequence` of the last record that exists; 0 if none does, more than `sequence` if the note is wrong."""
    hash: Sha256 | None = None
    """Noted `hash` of the last record, 64 lower-case hexadecimal digits; None if nothing is noted."""
    recorded_hash: Sha256 | None = None
    """`hash` of the last record that exists, 64 lower-case hexadecimal digits; None if none does."""


class AuditBody(FrozenModel):
    """The place of a body: the turn or event itself, stored beside its record."""

    tenant_id: UUID
    """Tenant that owns the body."""
    kind: RecordKind
    """Whether the body is a turn or an event."""
    record_id: UUID
    """Id of the turn or event."""
    recorded_at: UtcDatetime
    """Time at which the store received the turn or event (UTC), set by the store."""
    session_id: UUID | None = None
    """Session that the body is listed under; None for no session."""
    recorded: bool
    """Whether a record of the body exists."""


class AuditProblem(FrozenModel):
    """The first record that is not as it was recorded."""

    reason: Literal[
        "missing",
        "changed",
        "unlinked",
        "anchor",
        "body_missing",
        "body_changed",
        "misfiled",
        "retention",
        "head",
        "unrecorded",
        "unknown",
    ]
    """What is wrong.

    `missing`: later records, an anchor or the chain's head imply a record that does not exist. `changed`: its `hash` is
    not that of its content. `unlinked`: it does not follow the record before it. `anchor`: its `hash` is not the
    anchor's, so the chain was recomputed. `body_missing`, `body_changed`: its body is gone or has another digest.
    `misfiled`: the columns that lists filter by contradict its body. `retention`: its month is noted as dropped, but
    its body is there. `head`: the chain's head is missing, behind the records, or has another hash. `unrecorded`: a
    body has no record. `unknown`: there are no records, so there is nothing to verify.
    """
    session_id: UUID | None = None
    """Session of the chain; None for the tenant's own chain."""
    sequence: Count | None = None
    """Position in the chain, counted from 1; None if `unrecorded` or `unknown`."""
    kind: RecordKind | None = None
    """Whether it is of a turn or of an event; None if `missing`, `head` or `unknown`."""
    record_id: UUID | None = None
    """Id of the turn or event; None if `missing`, `head` or `unknown`."""


class AuditVerification(FrozenModel):
    """The outcome of a verification, which ends at the first problem, or for now at its limit."""

    problem: AuditProblem | None = None
    """First problem found; None if there are records, and all are as they were recorded."""
    chains: Count = 0
    """Number of chains read, or found to end at their anchors as they did, 0 or more."""
    records: Count = 0
    """Number of records found unchanged, 0 or more."""
    bodies: Count = 0
    """Number of bodies found unchanged, 0 or more."""
    months_dropped: list[date] = Field(default_factory=list)
    """First days of the months (UTC) whose bodies retention dropped, as far as records show."""
    head: AuditAnchor | None = None
    """End of the verified chain, or of the tenant's own if all were verified: an anchor to keep; None if empty."""
    next: AuditAnchor | AuditHead | AuditBody | None = None
    """What was read last, behind which the next step goes on; None if the verification is complete."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong, as far as the verification went."""
        return self.problem is None
