"""What is recorded: the record types, the canonical bytes of a body, and the months that bodies are kept by."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from convostore.domain.declaration import RecordType
from convostore.errors import ConflictError, ValidationError
from convostore.models.base import Model

MONTHS_AHEAD = 3
"""For how many months to come a backend makes room beforehand."""


def canonical(item: Model) -> str:
    """Return the canonical form of an item, which is what is kept and hashed: JSON, version 1.

    All fields, keys sorted by code point, no white space; in strings only `"`, `\\` and control characters are escaped;
    integers have all their digits, floats the fewest that read back as the same double (and a point or exponent); ids
    are in lower case; times are in UTC with six decimals and a Z.
    """
    return json.dumps(
        item.__dict__, default=_plain, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )


def moment(value: datetime) -> str:
    """Return the canonical form of a time."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def plain(item: Model) -> dict[str, Any]:
    """Return the fields of an item as they stand in its canonical form."""
    return {name: _text(value) for name, value in item.__dict__.items()}


def month_of(value: datetime) -> date:
    """Return the first day of the month of a moment, in UTC."""
    return value.astimezone(UTC).date().replace(day=1)


def next_month(month: date) -> datetime:
    """Return the moment a month is over."""
    return datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, Model):
        return value.__dict__
    raise TypeError(f"there is no canonical form of a {type(value).__name__}")


def misfiled(record_type: RecordType[Any], body: str, filed: Iterable[Any]) -> bool:
    """Return whether the values beside a body are not those in it; one that is no JSON has other problems."""
    try:
        said = json.loads(body)
        return any(said[name] != _text(value) for name, value in zip(record_type.filed, filed, strict=True))
    except (KeyError, TypeError, ValueError):
        return False


def _text(value: Any) -> Any:
    return _plain(value) if isinstance(value, UUID | datetime) else value


def record_id_conflict(record_type: RecordType[Any]) -> ConflictError:
    """Return the refusal of an id that another record has."""
    return ConflictError(f"{record_type.name}: the id exists with other content", code="audit_record_pkey")


def turn_number_conflict() -> ConflictError:
    """Return the refusal of a turn number that another turn of the session has."""
    return ConflictError("turn: session_id, turn_number is in use", code="turn_session_id_turn_number_key")


def check_retention(before: datetime, now: datetime) -> None:
    """Refuse to drop bodies that are yet to come.

    Raises:
        ValidationError: the moment lies in the future.
    """
    if before > now:
        raise ValidationError("before: must not lie in the future")
