"""The canonical form of a model, whose bytes are hashed: the same for the same content, for ever."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from convostore.models.base import Model


def canonical(item: Model) -> str:
    """Return the canonical form of an item: JSON, version 1.

    All fields, but those that its model gained later only if they have a value, so that what was recorded before keeps
    its bytes; keys sorted by code point, no white space; in strings only `"`, `\\` and control characters are escaped;
    integers have all their digits, floats the fewest that read back as the same double (and a point or exponent); ids
    are in lower case; times are in UTC with six decimals and a Z.
    """
    values = item.__dict__
    absent = [name for name in item.gained if values[name] is None]
    if absent:
        values = {name: value for name, value in values.items() if name not in absent}
    return json.dumps(
        values, default=_plain, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )


def plain(item: Model) -> dict[str, Any]:
    """Return the fields of an item as they stand in its canonical form."""
    return {name: plain_value(value) for name, value in item.__dict__.items()}


def plain_value(value: Any) -> Any:
    """Return what the value of a field is in the canonical form."""
    return _plain(value) if isinstance(value, UUID | datetime) else value


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, Model):
        return value.__dict__
    raise TypeError(f"there is no canonical form of a {type(value).__name__}")
