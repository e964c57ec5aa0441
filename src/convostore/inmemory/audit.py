"""The audit store in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, TypeVar, cast
from uuid import UUID

from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.domain.audit import (
    check_retention,
    month_dropped,
    month_of,
    next_month,
    next_record,
    record_id_conflict,
    turn_number_conflict,
)
from convostore.domain.declaration import RecordType, tenant_of
from convostore.domain.declarations import TURN
from convostore.domain.sessions import check_unbound
from convostore.domain.verify_export import digest_of
from convostore.gateway.audit import BodyAuditStore
from convostore.gateway.table import Window
from convostore.inmemory.base import InMemoryStore
from convostore.inmemory.table import copied, has
from convostore.models import AuditBody, AuditHead, AuditRecord, TurnRecord
from convostore.models.base import Model
from convostore.models.fields import now

M = TypeVar("M", bound=Model)

_END = datetime.max.replace(tzinfo=UTC)

RecordKey = tuple[str, UUID]
"""The kind of a record and its id."""


@dataclass
class TenantTrail:
    """The audit trail of one tenant.

    Attributes:
        chains: the records of each session, and under None those without one, in the order of their arrival.
        records: the same records by key.
        bodies: what was recorded and its canonical form; without those that retention dropped.
    """

    chains: defaultdict[UUID | None, list[AuditRecord]] = field(default_factory=lambda: defaultdict(list))
    records: dict[RecordKey, AuditRecord] = field(default_factory=dict)
    bodies: dict[RecordKey, tuple[Model, str]] = field(default_factory=dict)

    def chains_of(self, session_id: UUID | None) -> Iterator[tuple[UUID | None, list[AuditRecord]]]:
        """Yield the chain of a session, or all if None, with whose it is."""
        return (found for found in self.chains.items() if session_id in (None, found[0]) and found[1])

    def add(self, record: AuditRecord, item: Model, body: str) -> None:
        """Append a record to its chain."""
        self.chains[record.session_id].append(record)
        self.records[key_of(record)] = record
        self.bodies[key_of(record)] = item, body

    def take_back(self, record: AuditRecord) -> None:
        """Remove the last record of a chain."""
        self.chains[record.session_id].pop()
        del self.records[key_of(record)], self.bodies[key_of(record)]


class InMemoryAuditStore(InMemoryStore, BodyAuditStore):
    """Turns and events in memory."""

    def __init__(self, *, timeout: float = DEFAULT_TIMEOUT, clock: Callable[[], datetime] = now) -> None:
        super().__init__(timeout=timeout, clock=clock)
        self._trails: dict[UUID, TenantTrail] = {}
        self._dropped: set[date] = set()

    async def list_turns_by_session(
        self,
        tenant_id: UUID,
        session_id: UUID,
        *,
        limit: int = 100,
        offset: int = 0,
        after: TurnRecord | None = None,
    ) -> list[TurnRecord]:
        turns = sorted(self._items(TURN, tenant_id, {"session_id": session_id}), key=lambda turn: turn.turn_number)
        return [copied(turn) for turn in turns if after is None or turn.turn_number > after.turn_number][offset:][
            :limit
        ]

    async def list_records(
        self,
        tenant_id: UUID,
        *,
        session_id: UUID | None = None,
        limit: int = 100,
        offset: int = 0,
        after: AuditRecord | None = None,
    ) -> list[AuditRecord]:
        chains = self._trail(tenant_id).chains_of(session_id)
        records = sorted((record for _, chain in chains for record in chain), key=_place)
        page = [record for record in records if after is None or _place(record) > _place(after)][offset:][:limit]
        return [self._with_body(record) for record in page]

    async def list_heads(
        self,
        tenant_id: UUID,
        *,
        session_id: UUID | None = None,
        limit: int = 100,
        offset: int = 0,
        after: AuditHead | None = None,
    ) -> list[AuditHead]:
        heads = sorted(
            (
                AuditHead(
                    tenant_id=tenant_id,
                    session_id=session,
                    sequence=len(chain),
                    recorded=len(chain),
                    hash=chain[-1].hash,
                    recorded_hash=chain[-1].hash,
                )
                for session, chain in self._trail(tenant_id).chains_of(session_id)
            ),
            key=_chain,
        )
        return [head for head in heads if after is None or _chain(head) > _chain(after)][offset:][:limit]

    async def list_bodies(
        self, tenant_id: UUID, *, limit: int = 100, offset: int = 0, after: AuditBody | None = None
    ) -> list[AuditBody]:
        trail = self._trail(tenant_id)
        places = ("tenant_id", "kind", "record_id", "recorded_at", "session_id")
        bodies = (
            AuditBody(**{name: getattr(trail.records[key], name) for name in places}, recorded=True)
            for key in sorted(trail.bodies)
        )
        return [body for body in bodies if after is None or _filing(body) > _filing(after)][offset:][:limit]

    async def prepare_months(self) -> int:
        return 0

    async def drop_bodies(self, *, before: datetime) -> list[date]:
        check_unbound(self._tenant, "drop_bodies")
        check_retention(before, self._clock())
        over = set()
        for trail in self._trails.values():
            for key in list(trail.bodies):
                month = month_of(trail.records[key].recorded_at)
                if next_month(month) <= before:
                    over.add(month)
                    del trail.bodies[key]
        self._dropped |= over
        return sorted(over)

    async def _record(self, record_type: RecordType[M], items: Sequence[M]) -> None:
        added: list[AuditRecord] = []
        moment = self._clock()
        for item in items:
            trail = self._trails.setdefault(tenant_of(item), TenantTrail())
            try:
                body = record_type.codec.to_canonical(item)
                known = trail.records.get((record_type.name, record_type.id_of(item)))
                if known is None and month_of(moment) in self._dropped:
                    raise month_dropped(moment)
                if known is None:
                    added.append(self._next(record_type, item, body, moment))
                    trail.add(added[-1], copied(item), body)
                elif known.digest != digest_of(body):
                    raise record_id_conflict(record_type)
            except Exception:
                for record in reversed(added):
                    trail.take_back(record)
                raise

    def _kept(self, tenant_id: UUID, session_id: UUID | None) -> Callable[[], None]:
        """Return what removes all that is appended to a chain from now on."""
        trail = self._trails.setdefault(tenant_id, TenantTrail())
        length = len(trail.chains.get(session_id, []))

        def restore() -> None:
            for record in reversed(trail.chains.get(session_id, [])[length:]):
                trail.take_back(record)

        return restore

    def _next(self, record_type: RecordType[M], item: M, body: str, moment: datetime) -> AuditRecord:
        """Return the record that an item becomes at the end of its chain."""
        session_id, turn_number = getattr(item, "session_id", None), getattr(item, "turn_number", None)
        chain = self._trail(tenant_of(item)).chains.get(session_id, [])
        if turn_number is not None and any(record.turn_number == turn_number for record in chain):
            raise turn_number_conflict()
        return next_record(record_type, item, body, moment, chain[-1] if chain else None)

    async def _get(self, record_type: RecordType[M], tenant_id: UUID, record_id: UUID) -> M | None:
        item, _ = self._trail(tenant_id).bodies.get((record_type.name, record_id), (None, None))
        return copied(cast("M", item)) if item else None

    async def _find(
        self,
        record_type: RecordType[M],
        tenant_id: UUID,
        where: dict[str, Any],
        *,
        limit: int,
        offset: int,
        after: M | None,
    ) -> list[M]:
        def place(item: Any) -> Any:
            return _END - item.timestamp, record_type.id_of(item)

        found = sorted(self._items(record_type, tenant_id, where), key=place)
        return [copied(item) for item in found if after is None or place(item) > place(after)][offset:][:limit]

    def _trail(self, tenant_id: UUID) -> TenantTrail:
        return self._trails.get(tenant_id, TenantTrail())

    def _items(self, record_type: RecordType[M], tenant_id: UUID, where: dict[str, Any]) -> Iterator[M]:
        equal = {name: value for name, value in where.items() if name not in ("since", "until")}
        window = Window(where.get("since"), where.get("until"))
        for (name, _), (item, _) in self._trail(tenant_id).bodies.items():
            if name == record_type.name and has(item, {**equal, "timestamp": window}):
                yield cast("M", item)

    def _with_body(self, record: AuditRecord) -> AuditRecord:
        _, body = self._trail(record.tenant_id).bodies.get(key_of(record), (None, None))
        dropped = body is None and month_of(record.recorded_at) in self._dropped
        return record.model_copy(update={"body": body, "body_dropped": dropped})


def key_of(record: AuditRecord) -> RecordKey:
    """Return the key of a record."""
    return record.kind, record.record_id


def _chain(item: AuditRecord | AuditHead) -> tuple[bool, int]:
    """Return where a chain stands in a tenant's list: its own first."""
    return item.session_id is not None, item.session_id.int if item.session_id else 0


def _place(record: AuditRecord) -> tuple[bool, int, int]:
    """Return where a record stands in a tenant's list."""
    return *_chain(record), record.sequence


def _filing(body: AuditBody) -> tuple[str, UUID]:
    """Return where a body stands in a tenant's list."""
    return body.kind, body.record_id
