"""The audit store on PostgreSQL, in append-only tables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from convostore.domain.audit import MONTHS_AHEAD, check_retention, misfiled, month_dropped
from convostore.domain.declaration import RecordType, tenant_of
from convostore.domain.declarations import RECORD_TYPES, TURN
from convostore.domain.sessions import check_unbound
from convostore.errors import ConflictError, StoreError, ValidationError
from convostore.gateway.audit import BodyAuditStore
from convostore.models import AuditBody, AuditHead, AuditRecord, TurnRecord
from convostore.models.base import Model
from convostore.postgres.pages import page
from convostore.postgres.queries import queries
from convostore.postgres.store import PostgresStore
from convostore.postgres.tenancy import BIND_TENANT

M = TypeVar("M", bound=Model)
T = TypeVar("T")

NO_PARTITION = "23514"
_AS_THEY_ARE = (*("version", "tenant_id", "kind", "record_id", "session_id", "turn_number", "sequence", "recorded_at"),)
_FILED = ("turn_id", "customer_profile_id", "event_type", "timestamp")
_FIRST, _LAST = UUID(int=0), UUID(int=2**128 - 1)
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)

_FILTERS = {
    "event_type": "t.event_type = ${}",
    "session_id": "t.session_id = ${}",
    "turn_id": "t.turn_id = ${}",
    "customer_profile_id": "t.customer_profile_id = ${}",
    "since": 't."timestamp" >= ${}',
    "until": 't."timestamp" < ${}',
}


class PostgresAuditStore(PostgresStore, BodyAuditStore):
    """Turns and events on PostgreSQL: records in one table that is kept, bodies partitioned by month."""

    async def list_turns_by_session(
        self,
        tenant_id: UUID,
        session_id: UUID,
        *,
        limit: int = 100,
        offset: int = 0,
        after: TurnRecord | None = None,
    ) -> list[TurnRecord]:
        async def fetch(number: int, offset: int) -> list[asyncpg.Record]:
            query = queries("audit").turns_of_session(
                tenant_id=tenant_id, session_id=session_id, after_number=number, limit=limit, offset=offset
            )
            return await self._database.fetch(*query)

        return await page(
            fetch,
            lambda row: _item(TURN, row, tenant_id),
            lambda row: row["turn_number"],
            after=after.turn_number if after else -1,
            limit=limit,
            offset=offset,
        )

    async def list_records(
        self,
        tenant_id: UUID,
        *,
        session_id: UUID | None = None,
        limit: int = 100,
        offset: int = 0,
        after: AuditRecord | None = None,
    ) -> list[AuditRecord]:
        own = None if session_id else 0
        place: tuple[UUID, int] = (session_id or _FIRST, 0)
        if after is not None and after.session_id is None:
            own = after.sequence if own is not None else None
        elif after is not None and after.session_id is not None:
            own, place = None, max(place, (after.session_id, after.sequence))
        after_session, after_sequence = place
        query = queries("audit").records(
            tenant_id=tenant_id,
            after_own=own,
            after_session=after_session,
            after_sequence=after_sequence,
            last_session=session_id or _LAST,
            limit=limit,
            offset=offset,
        )
        return [_record(row, tenant_id) for row in await self._database.fetch(*query)]

    async def list_heads(
        self,
        tenant_id: UUID,
        *,
        session_id: UUID | None = None,
        limit: int = 100,
        offset: int = 0,
        after: AuditHead | None = None,
    ) -> list[AuditHead]:
        after_session = after.session_id if after else None
        query = queries("audit").heads(
            tenant_id=tenant_id,
            with_own=session_id is None and after is None,
            first_session=max(session_id or _FIRST, after_session or _FIRST),
            after_session=after_session,
            last_session=session_id or _LAST,
            limit=limit,
            offset=offset,
        )
        rows = await self._database.fetch(*query)
        return [AuditHead.model_construct(**_own(row, tenant_id)) for row in rows]

    async def list_bodies(
        self, tenant_id: UUID, *, limit: int = 100, offset: int = 0, after: AuditBody | None = None
    ) -> list[AuditBody]:
        query = queries("audit").bodies(
            tenant_id=tenant_id,
            after_kind=after.kind if after else "",
            after_id=after.record_id if after else _FIRST,
            after_recorded_at=after.recorded_at if after else _BEGINNING,
            limit=limit,
            offset=offset,
        )
        rows = await self._database.fetch(*query)
        return [AuditBody.model_construct(**_own(row, tenant_id)) for row in rows]

    async def prepare_months(self) -> int:
        return await self._create_months(self._clock())

    async def drop_bodies(self, *, before: datetime) -> list[date]:
        check_unbound(self._tenant, "drop_bodies")
        check_retention(before, self._clock())
        return [month for (month,) in await self._database.fetch(*queries("audit").drop_months(before=before))]

    async def _record(self, kind: RecordType[M], items: Sequence[M]) -> None:
        if not items:
            return
        moment, tenant_id = self._clock(), tenant_of(items[0])
        given = {"tenant_id": tenant_id, "kind": kind.name, "recorded_at": moment}
        rows = [_row(kind, item) for item in items]
        recording: Awaitable[object]
        if len(rows) == 1:
            query = queries("audit").record(**given, **rows[0])
            # It locks the head of its chain, which is the tenant's if it names no session.
            recording = self._database.write_together((tenant_id, rows[0]["session_id"] or tenant_id), *query)
        elif await self._database.is_distributed():
            query = self._recording(tenant_id, [(kind, item) for item in items])
            recording = self._database.fetch(*query)
        else:
            query = queries("audit").record_all(**given, **{name: [row[name] for row in rows] for name in rows[0]})
            recording = self._database.fetchval(*query)
        try:
            await recording
        except ValidationError as error:
            # A transaction ends first, and whoever began it records again: partitions are another role's.
            if error.code != NO_PARTITION or self._database.in_transaction:
                raise
            await self._record_in_new_month(lambda: self._database.fetch(*query), moment)

    async def _record_at_once(self, records: Sequence[tuple[RecordType[Any], Model]]) -> bool:
        if len(records) <= 1:
            return False
        try:
            await self._database.fetch(*self._recording(tenant_of(records[0][1]), records))
        except (ConflictError, ValidationError):
            return False
        return True

    def _recording(self, tenant_id: UUID, records: Sequence[tuple[RecordType[Any], Model]]) -> tuple[Any, ...]:
        """Return the statement that records turns and events of several chains, with its arguments."""
        rows = [{"kind": kind.name, **_row(kind, item)} for kind, item in records]
        query: tuple[Any, ...] = queries("audit").record_each(
            tenant_id=tenant_id, recorded_at=self._clock(), **{name: [row[name] for row in rows] for name in rows[0]}
        )
        return query

    async def _record_in_new_month(self, record: Callable[[], Awaitable[T]], moment: datetime) -> T:
        """Record what found no partition, once there are those of a month and some more."""
        await self._create_months(moment)
        try:
            return await record()
        except ValidationError as error:
            if error.code != NO_PARTITION:
                raise
            refused = month_dropped(moment)
            refused.item = error.item
            raise refused from error

    async def _create_months(self, moment: datetime) -> int:
        query = queries("audit").create_months(moment=moment, months_ahead=MONTHS_AHEAD)
        created: int = await self._database.fetchval(*query)
        return created

    async def _get(self, kind: RecordType[M], tenant_id: UUID, record_id: UUID) -> M | None:
        query = queries("audit").body(tenant_id=tenant_id, kind=kind.name, record_id=record_id)
        row = await self._database.fetchrow(*query)
        return _item(kind, row, tenant_id) if row else None

    async def _find(
        self, kind: RecordType[M], tenant_id: UUID, where: dict[str, Any], *, limit: int, offset: int, after: M | None
    ) -> list[M]:
        filters = {name: value for name, value in where.items() if value is not None}

        async def fetch(last: tuple[Any, ...], offset: int) -> list[asyncpg.Record]:
            statement = listing(kind.name, tuple(filters), after=bool(last))
            return await self._database.fetch(statement, tenant_id, limit, offset, *last, *filters.values())

        return await page(
            fetch,
            lambda row: _item(kind, row, tenant_id),
            lambda row: (row["timestamp"], row["record_id"]),
            after=(after.__dict__["timestamp"], kind.id_of(after)) if after else (),
            limit=limit,
            offset=offset,
        )


@cache
def listing(kind: str, filters: tuple[str, ...], *, after: bool) -> str:
    """Return the statement of a list by time, newest first, then by id.

    Parameters: tenant, limit, offset, the cursor (time and id) if it has one, values of the filters.
    """
    first = 6 if after else 4
    conditions = [BIND_TENANT, "t.tenant_id = $1", f"t.kind = '{kind}'"]
    conditions += [_FILTERS[name].format(number) for number, name in enumerate(filters, first)]
    select = f"SELECT t.* FROM convostore.audit_body AS t WHERE {' AND '.join(conditions)}"
    order = 'ORDER BY t."timestamp" DESC, t.record_id LIMIT $2::bigint'
    if not after:
        return f"{select} {order} OFFSET $3::bigint"
    # Keyset pagination in two branches: the planner uses the index for the order of each.
    behind = ('t."timestamp" = $4 AND t.record_id > $5', 't."timestamp" < $4')
    parts = " UNION ALL ".join(f"({select} AND {place} {order} + $3::bigint)" for place in behind)
    return f"SELECT t.* FROM ({parts}) AS t {order} OFFSET $3::bigint"


def _row(kind: RecordType[M], item: M) -> dict[str, Any]:
    """Return what is stored of an item; NULL where it has no such field, or does not store it beside the body."""
    fields = item.__dict__
    return {
        "record_id": kind.id_of(item),
        **{name: fields.get(name) for name in ("session_id", "turn_number")},
        **{name: fields[name] if name in kind.filed else None for name in _FILED},
        "content": kind.codec.to_canonical(item).encode(),
    }


def _item(kind: RecordType[M], row: asyncpg.Record, tenant_id: UUID) -> M:
    item = kind.codec.from_document(row["content"], row["record_id"])
    if {row["tenant_id"], tenant_of(item)} != {tenant_id}:
        raise StoreError(f"{kind.name}: a row of another tenant was read")
    return item


def _own(row: asyncpg.Record, tenant_id: UUID) -> dict[str, Any]:
    if row["tenant_id"] != tenant_id:
        raise StoreError("audit: a row of another tenant was read")
    return dict(row)


def _record(row: asyncpg.Record, tenant_id: UUID) -> AuditRecord:
    _own(row, tenant_id)
    kind = RECORD_TYPES[row["kind"]]
    body = None if row["content"] is None else row["content"].decode(errors="replace")
    filed = (row["filed_session_id" if name == "session_id" else name] for name in kind.filed)
    return AuditRecord.model_construct(
        **{name: row[name] for name in _AS_THEY_ARE},
        **{name: row[name].hex() for name in ("previous_hash", "digest", "hash")},
        body=body,
        body_dropped=row["dropped"],
        misfiled=body is not None and misfiled(kind, body, filed),
    )
