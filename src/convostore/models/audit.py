"""What happened: turns, tool calls and events, none of which ever change, and the proof that they did not."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal
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


class ToolCall(FrozenModel):
    """One call of a tool during a turn. `latency_ms` is in milliseconds."""

    tool_id: Identifier
    tool_name: Identifier
    input: JsonObject
    output: Json
    success: bool
    error: Text | None = None
    latency_ms: Milliseconds


class TurnRecord(FrozenModel):
    """One exchange between a user and an agent. `latency_ms` is in milliseconds."""

    turn_id: UUID = Field(default_factory=new_id)
    tenant_id: UUID
    agent_id: UUID
    session_id: UUID
    customer_profile_id: UUID | None = None
    turn_number: Count
    user_message: Text
    agent_response: Text
    matched_rule_ids: list[UUID] = Field(default_factory=list)
    scenario_id: UUID | None = None
    step_id: UUID | None = None
    tool_calls: list[ToolCall] = Field(default_factory=list)
    template_ids_used: list[UUID] = Field(default_factory=list)
    latency_ms: Milliseconds
    tokens_used: Count
    metadata: JsonObject = Field(default_factory=dict)
    timestamp: UtcDatetime = Field(default_factory=now)


class AuditEvent(FrozenModel):
    """Something worth recording besides a turn."""

    id: UUID = Field(default_factory=new_id)
    tenant_id: UUID
    event_type: TypeName
    event_data: JsonObject
    session_id: UUID | None = None
    turn_id: UUID | None = None
    timestamp: UtcDatetime = Field(default_factory=now)


RecordKind = Literal["turn", "event"]
"""What an audit record is of."""


class AuditRecord(FrozenModel):
    """That a turn or an event was recorded: one link of a hash chain, as `domain/verify_export.py` says.

    Attributes:
        version: of the byte form that is hashed.
        tenant_id: the tenant.
        kind: turn or event.
        record_id: the id of the turn or event.
        session_id: whose chain it belongs to; None for the tenant's own chain, of events without a session.
        turn_number: the number of the turn.
        sequence: its place in the chain, counted from 1.
        recorded_at: when it arrived.
        previous_hash: the hash of the record before it, 64 zeros for the first.
        digest: the SHA-256 of the body.
        hash: the SHA-256 of all of the above.
        body: the turn or event in its canonical form, JSON; None if it is not there.
        body_dropped: whether the body is not there because those of its month were dropped.
        misfiled: whether lists show the body under other values than it has, which is the work of a forger.
    """

    version: Version
    tenant_id: UUID
    kind: RecordKind
    record_id: UUID
    session_id: UUID | None = None
    turn_number: Count | None = None
    sequence: Count
    recorded_at: UtcDatetime
    previous_hash: Sha256
    digest: Sha256
    hash: Sha256
    body: Body | None = None
    body_dropped: bool = False
    misfiled: bool = False

    @property
    def anchor(self) -> AuditAnchor:
        """The anchor of its chain up to here."""
        return AuditAnchor(tenant_id=self.tenant_id, session_id=self.session_id, sequence=self.sequence, hash=self.hash)


class AuditAnchor(FrozenModel):
    """How long a chain was and the hash of its last record: kept elsewhere, it proves the chain up to there.

    `session_id` is None for the tenant's own chain.
    """

    tenant_id: UUID
    session_id: UUID | None = None
    sequence: Count
    hash: Sha256


class AuditHead(FrozenModel):
    """What a backend notes of a chain besides its records.

    Attributes:
        tenant_id: the tenant.
        session_id: the chain; None for the tenant's own.
        sequence: how many records it had according to the note.
        recorded: the `sequence` of the last record that is there, 0 if there is none.
    """

    tenant_id: UUID
    session_id: UUID | None = None
    sequence: Count
    recorded: Count


class AuditBody(FrozenModel):
    """Where a body is kept.

    Attributes:
        tenant_id: the tenant.
        kind: turn or event.
        record_id: the id of the turn or event.
        recorded_at: when it arrived.
        session_id: the session it is listed under.
        recorded: whether there is a record of it.
    """

    tenant_id: UUID
    kind: RecordKind
    record_id: UUID
    recorded_at: UtcDatetime
    session_id: UUID | None = None
    recorded: bool


class AuditProblem(FrozenModel):
    """The first record that is not as it was recorded.

    Attributes:
        reason: `"missing"`: there is no such record, though later ones, an anchor or the chain's head tell of it;
            `"changed"`: its hash is not that of what it says; `"unlinked"`: it does not follow the record before it;
            `"anchor"`: its hash is not the anchor's, so the chain was computed anew; `"body_missing"`;
            `"body_changed"`; `"misfiled"`: lists show the body under other values than it has; `"unrecorded"`: a body
            that no record tells of.
        session_id: the chain; None for the tenant's own.
        sequence: the place in the chain; None if `"unrecorded"`.
        kind: turn or event; None if `"missing"`.
        record_id: the id of the turn or event; None if `"missing"`.
    """

    reason: Literal[
        "missing", "changed", "unlinked", "anchor", "body_missing", "body_changed", "misfiled", "unrecorded"
    ]
    session_id: UUID | None = None
    sequence: Count | None = None
    kind: RecordKind | None = None
    record_id: UUID | None = None


class AuditVerification(FrozenModel):
    """What came of a verification, up to the first problem if there is one.

    Attributes:
        problem: the first record that is not as it was recorded; None if all are.
        chains: how many chains were seen.
        records: how many records were found right.
        bodies: how many of them have a body, which was found right too.
        months_dropped: the first days of the months whose bodies were dropped, as far as records tell of them.
        head: the end of the chain that was asked for, of the tenant's own if all were; None if it is empty. Kept
            elsewhere, it is the anchor of a later verification.
    """

    problem: AuditProblem | None = None
    chains: Count = 0
    records: Count = 0
    bodies: Count = 0
    months_dropped: list[date] = Field(default_factory=list)
    head: AuditAnchor | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return self.problem is None
