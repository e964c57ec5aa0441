"""The audit trail as a whole: verifying its chains, exporting them, and the anchors to keep elsewhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar
from uuid import UUID

from convostore.call.paging import paginate
from convostore.domain.codec import canonical, plain
from convostore.domain.verify_export import END, GENESIS, VERSION, Problem, Verifier
from convostore.errors import ValidationError
from convostore.models import AuditAnchor, AuditBody, AuditHead, AuditProblem, AuditRecord, AuditVerification

AuditPlace: TypeAlias = AuditAnchor | AuditHead | AuditBody
"""What a step of a verification read last: a record, the head of a chain, or where a body is kept."""

P = TypeVar("P", AuditHead, AuditBody)


class Trail(Protocol):
    """What an audit store lists of its chains; see `AuditStore`."""

    def iter_records(self, tenant_id: UUID, *, session_id: UUID | None = None) -> AsyncIterator[AuditRecord]:
        """Yield records, chain by chain."""

    async def list_records(
        self,
        tenant_id: UUID,
        *,
        session_id: UUID | None = None,
        limit: int = 100,
        offset: int = 0,
        after: AuditRecord | None = None,
    ) -> list[AuditRecord]:
        """Return records, chain by chain."""

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
    trail: Trail,
    tenant_id: UUID,
    session_id: UUID | None,
    anchor: AuditAnchor | list[AuditAnchor] | None,
    *,
    from_anchor: bool,
    limit: int | None,
    after: AuditVerification | None,
) -> AuditVerification:
    """Verify one chain, or all of a tenant, up to the first problem or for a step. See `AuditStore.verify`."""
    anchors = _checked_anchors(tenant_id, session_id, anchor)
    place = after and _checked_place(tenant_id, session_id, after)
    result = after or AuditVerification()
    if place is None or isinstance(place, AuditAnchor):
        result = await _verify_records(trail, tenant_id, session_id, anchors, result, limit, from_anchor)
        if result.problem or result.next:
            return result
    if not isinstance(place, AuditBody):
        behind = place if isinstance(place, AuditHead) else None
        heads = paginate(partial(trail.list_heads, tenant_id, session_id=session_id), behind)
        result = result.model_copy(update=await _step(_wrong_head, heads, limit))
        if result.problem or result.next:
            return result
    if session_id is None and not from_anchor:
        bodies = paginate(partial(trail.list_bodies, tenant_id), place if isinstance(place, AuditBody) else None)
        result = result.model_copy(update=await _step(_unrecorded, bodies, limit))
    if result.ok and result.next is None and not result.chains:
        return result.model_copy(update={"problem": AuditProblem(reason="unknown", session_id=session_id)})
    return result


async def anchors_of(trail: Trail, tenant_id: UUID) -> AsyncIterator[AuditAnchor]:
    """Yield the end of every chain of a tenant."""
    async for head in paginate(partial(trail.list_heads, tenant_id)):
        if head.recorded_hash is not None:
            yield AuditAnchor(
                tenant_id=tenant_id, session_id=head.session_id, sequence=head.recorded, hash=head.recorded_hash
            )


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
    anchors = anchor if isinstance(anchor, list) else [] if anchor is None else [anchor]
    for one in anchors:
        if one.tenant_id != tenant_id or session_id not in (None, one.session_id):
            raise ValidationError("anchor: is not of this chain")
    return anchors


def _checked_place(tenant_id: UUID, session_id: UUID | None, after: AuditVerification) -> AuditPlace:
    place = after.next
    if place is None or place.tenant_id != tenant_id or session_id not in (None, place.session_id):
        raise ValidationError("after: has no next step of this verification")
    return place


async def _verify_records(
    trail: Trail,
    tenant_id: UUID,
    session_id: UUID | None,
    anchors: list[AuditAnchor],
    before: AuditVerification,
    limit: int | None,
    from_anchor: bool,
) -> AuditVerification:
    """Verify the records behind those that were verified before, up to a number of them."""
    heads: list[dict[str, Any]] = []
    wanted = session_id and str(session_id)
    after = before.next if isinstance(before.next, AuditAnchor) else None
    ahead = [anchor for anchor in anchors if after is None or _order(anchor) > _order(after)]
    starts = {anchor.session_id: anchor for anchor in sorted(ahead, key=_order)} if from_anchor else {}
    if after:
        starts.pop(after.session_id, None)
    verifier = Verifier(
        map(plain, ahead),
        lambda head: heads.append(head) if head["session_id"] == wanted else None,
        map(plain, starts.values()),
        plain(after) if after else None,
    )
    problem: Problem | None = None
    number, last = 0, None
    async for item in _unverified(trail, tenant_id, session_id, starts, after):
        if number == limit:
            break
        if isinstance(item, AuditAnchor):
            verifier.pass_by(plain(item))
        elif problem := verifier.check(plain(item)):
            break
        number, last = number + 1, item if isinstance(item, AuditAnchor) else item.anchor
    else:
        problem, last = verifier.end(), None
    months = {date.fromisoformat(f"{month}-01") for month in verifier.months_dropped}
    return AuditVerification(
        problem=None if problem is None else AuditProblem.model_validate(problem),
        chains=before.chains + verifier.chains,
        records=before.records + verifier.records,
        bodies=before.bodies + verifier.bodies,
        months_dropped=sorted({*before.months_dropped, *months}),
        head=AuditAnchor.model_validate(heads[0]) if heads else before.head,
        next=last if problem is None else None,
    )


async def _unverified(
    trail: Trail,
    tenant_id: UUID,
    session_id: UUID | None,
    starts: Mapping[UUID | None, AuditAnchor],
    after: AuditAnchor | None,
) -> AsyncIterator[AuditRecord | AuditAnchor]:
    """Yield the records behind a place; of a chain with a start those from that on, or it if the chain ends there."""
    if not starts:
        listed = partial(trail.list_records, tenant_id, session_id=session_id)
        async for record in paginate(listed, _cursor(after) if after else None):
            yield record
        return
    if after:
        async for record in _chain(trail, tenant_id, after.session_id, _cursor(after)):
            yield record
    place = AuditHead(tenant_id=tenant_id, session_id=after.session_id, sequence=0, recorded=0) if after else None
    async for head in paginate(partial(trail.list_heads, tenant_id, session_id=session_id), place):
        start = starts.get(head.session_id)
        if start and (head.recorded, head.recorded_hash) == (start.sequence, start.hash):
            yield start
            continue
        async for record in _chain(trail, tenant_id, head.session_id, _cursor(start, -1) if start else None):
            yield record


async def _chain(
    trail: Trail, tenant_id: UUID, session_id: UUID | None, after: AuditRecord | None
) -> AsyncIterator[AuditRecord]:
    """Yield the records of one chain behind a cursor; the list of a tenant begins with its own chain."""
    async for record in paginate(partial(trail.list_records, tenant_id, session_id=session_id), after):
        if record.session_id != session_id:
            return
        yield record


def _cursor(anchor: AuditAnchor, shift: int = 0) -> AuditRecord:
    """Return the cursor of a list of records that stands at an anchor, or that far from it."""
    return AuditRecord(
        version=VERSION,
        tenant_id=anchor.tenant_id,
        kind="event",
        record_id=UUID(int=0),
        session_id=anchor.session_id,
        sequence=anchor.sequence + shift,
        recorded_at=datetime(1970, 1, 1, tzinfo=UTC),
        previous_hash=GENESIS,
        digest=GENESIS,
        hash=anchor.hash,
    )


def _order(anchor: AuditAnchor) -> tuple[bool, int, int]:
    """Return where a record stands in a tenant's list: its own chain first."""
    return anchor.session_id is not None, anchor.session_id.int if anchor.session_id else 0, anchor.sequence


async def _step(
    wrong: Callable[[P], AuditProblem | None], items: AsyncIterator[P], limit: int | None
) -> dict[str, AuditProblem | P | None]:
    """Return the first problem of items, or the last of so many if more follow."""
    number, last = 0, None
    async for item in items:
        if number == limit:
            return {"problem": None, "next": last}
        if problem := wrong(item):
            return {"problem": problem, "next": None}
        number, last = number + 1, item
    return {"problem": None, "next": None}


def _wrong_head(head: AuditHead) -> AuditProblem | None:
    """Return how the head of a chain and its records contradict each other."""
    if head.recorded < head.sequence:
        return AuditProblem(reason="missing", session_id=head.session_id, sequence=head.recorded + 1)
    if (head.sequence, head.hash) != (head.recorded, head.recorded_hash):
        return AuditProblem(reason="head", session_id=head.session_id, sequence=head.recorded)
    return None


def _unrecorded(body: AuditBody) -> AuditProblem | None:
    """Return that a body has no record."""
    if body.recorded:
        return None
    return AuditProblem(reason="unrecorded", session_id=body.session_id, kind=body.kind, record_id=body.record_id)
