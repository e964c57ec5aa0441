"""The audit trail as a whole: verifying its chains, exporting them, and the anchors to keep elsewhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import date
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from convostore.call.paging import paginate
from convostore.domain.codec import canonical, plain
from convostore.domain.verify_export import END, Problem, Verifier
from convostore.errors import ValidationError
from convostore.models import AuditAnchor, AuditBody, AuditHead, AuditProblem, AuditRecord, AuditVerification


class Trail(Protocol):
    """What an audit store lists of its chains; see `AuditStore`."""

    def iter_records(self, tenant_id: UUID, *, session_id: UUID | None = None) -> AsyncIterator[AuditRecord]:
        """Yield records, chain by chain."""

    async def list_heads(
        self,
        tenant_id: UUID,
        *,
        session_id: UUID | None = None,
        limit: int = 100,
        offset: int = 0,
        after: AuditHead | None = None,
    ) -> list[AuditHead]:
        """Return chain heads."""

    async def list_bodies(
        self, tenant_id: UUID, *, limit: int = 100, offset: int = 0, after: AuditBody | None = None
    ) -> list[AuditBody]:
        """Return where bodies are kept."""


async def verify(
    trail: Trail, tenant_id: UUID, session_id: UUID | None, anchor: AuditAnchor | list[AuditAnchor] | None
) -> AuditVerification:
    """Verify one chain, or all of a tenant, up to the first problem. See `AuditStore.verify`."""
    anchors = _checked_anchors(tenant_id, session_id, anchor)
    result = await _verify_records(tenant_id, session_id, anchors, trail.iter_records(tenant_id, session_id=session_id))
    if result.problem:
        return result
    problem = await _find_lost(trail, tenant_id, session_id)
    if problem is None and not result.records:
        problem = AuditProblem(reason="unknown", session_id=session_id)
    return result.model_copy(update={"problem": problem})


async def anchors_of(trail: Trail, tenant_id: UUID) -> AsyncIterator[AuditAnchor]:
    """Yield the end of every chain of a tenant."""
    last: AuditRecord | None = None
    async for record in trail.iter_records(tenant_id):
        if last is not None and last.session_id != record.session_id:
            yield last.anchor
        last = record
    if last is not None:
        yield last.anchor


async def exported(trail: Trail, tenant_id: UUID, session_id: UUID | None) -> AsyncIterator[str]:
    """Yield records as JSON Lines, and how many they are as the last one."""
    records = 0
    async for record in trail.iter_records(tenant_id, session_id=session_id):
        yield canonical(record)
        records += 1
    yield json.dumps({"kind": END, "records": records})


def _checked_anchors(
    tenant_id: UUID, session_id: UUID | None, anchor: AuditAnchor | list[AuditAnchor] | None
) -> list[AuditAnchor]:
    anchors: list[Any] = anchor if isinstance(anchor, list) else [] if anchor is None else [anchor]
    for one in anchors:
        if not isinstance(one, AuditAnchor) or one.tenant_id != tenant_id or session_id not in (None, one.session_id):
            raise ValidationError("anchor: is not of this chain")
    return anchors


async def _verify_records(
    tenant_id: UUID, session_id: UUID | None, anchors: list[AuditAnchor], records: AsyncIterator[AuditRecord]
) -> AuditVerification:
    heads: list[dict[str, Any]] = []
    wanted = session_id and str(session_id)
    verifier = Verifier(
        map(plain, anchors),
        lambda head: heads.append(head) if head["session_id"] == wanted else None,
    )
    problem: Problem | None = None
    async for record in records:
        if problem := verifier.check(plain(record)):
            break
    else:
        problem = verifier.end()
    return AuditVerification(
        problem=None if problem is None else AuditProblem.model_validate(problem),
        chains=verifier.chains,
        records=verifier.records,
        bodies=verifier.bodies,
        months_dropped=sorted(date.fromisoformat(f"{month}-01") for month in verifier.months_dropped),
        head=AuditAnchor.model_validate(heads[0]) if heads else None,
    )


async def _find_lost(trail: Trail, tenant_id: UUID, session_id: UUID | None) -> AuditProblem | None:
    """Return the first chain whose head and records contradict each other or, for all chains, body without record."""
    async for head in paginate(partial(trail.list_heads, tenant_id, session_id=session_id)):
        if head.recorded < head.sequence:
            return AuditProblem(reason="missing", session_id=head.session_id, sequence=head.recorded + 1)
        if (head.sequence, head.hash) != (head.recorded, head.recorded_hash):
            return AuditProblem(reason="head", session_id=head.session_id, sequence=head.recorded)
    if session_id is None:
        async for body in paginate(partial(trail.list_bodies, tenant_id)):
            if not body.recorded:
                return AuditProblem(
                    reason="unrecorded", session_id=body.session_id, kind=body.kind, record_id=body.record_id
                )
    return None
