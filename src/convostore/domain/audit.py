"""What the audit stores share: filing, conflicts, and the months that bodies are kept by."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from convostore.domain.codec import plain, plain_value
from convostore.domain.declaration import RecordType, tenant_of
from convostore.domain.verify_export import GENESIS, VERSION, digest_of, hash_of
from convostore.errors import ConflictError, ValidationError
from convostore.models import AuditRecord
from convostore.models.base import Model

M = TypeVar("M", bound=Model)

MONTHS_AHEAD = 3
"""For how many months to come a backend makes room beforehand."""


def month_of(value: datetime) -> date:
    """Return the first day of the month of a moment, in UTC."""
    return value.astimezone(UTC).date().replace(day=1)


def next_month(month: date) -> datetime:
    """Return the moment a month is over."""
    return datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)


def misfiled(record_type: RecordType[Any], body: str, filed: Iterable[Any]) -> bool:
    """Return whether the values beside a body are not those in it; one that is no JSON has other problems.

    A body that was recorded before its model gained a field is without it.
    """
    try:
        said = json.loads(body)
        return any(said.get(name) != plain_value(value) for name, value in zip(record_type.filed, filed, strict=True))
    except (AttributeError, ValueError):
        return False


def next_record(
    record_type: RecordType[M], item: M, body: str, recorded_at: datetime, previous: AuditRecord | None
) -> AuditRecord:
    """Return the record of an item at the end of its chain.

    Args:
        record_type: what the item is.
        item: what is recorded.
        body: its canonical form.
        recorded_at: the moment.
        previous: the last record of the chain of its session, or of its tenant without one; None begins the chain.
    """
    record = AuditRecord(
        version=VERSION,
        tenant_id=tenant_of(item),
        kind=record_type.name,
        record_id=record_type.id_of(item),
        session_id=getattr(item, "session_id", None),
        turn_number=getattr(item, "turn_number", None),
        sequence=previous.sequence + 1 if previous else 1,
        recorded_at=recorded_at,
        previous_hash=previous.hash if previous else GENESIS,
        digest=digest_of(body),
        hash=GENESIS,
    )
    return record.model_copy(update={"hash": hash_of(plain(record))})


def record_id_conflict(record_type: RecordType[Any]) -> ConflictError:
    """Return the refusal of an id that another record has."""
    return ConflictError(f"{record_type.name}: the id exists with other content", code="audit_record_pkey")


def turn_number_conflict() -> ConflictError:
    """Return the refusal of a turn number that another turn of the session has."""
    return ConflictError("turn: session_id, turn_number is in use", code="turn_session_id_turn_number_key")


def month_dropped(moment: datetime) -> ValidationError:
    """Return the refusal of what arrives in a month whose bodies were dropped."""
    return ValidationError(
        f"recorded_at: the bodies of {month_of(moment):%Y-%m} were dropped, so nothing more can arrive in it; "
        "the clock of this process is behind"
    )


def check_retention(before: datetime, now: datetime) -> None:
    """Refuse to drop bodies that are yet to come.

    Raises:
        ValidationError: the moment lies in the future.
    """
    if before > now:
        raise ValidationError("before: must not lie in the future")
