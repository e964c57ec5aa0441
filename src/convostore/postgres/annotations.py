"""Column types, derived from the types of a model's fields."""

from __future__ import annotations

from datetime import datetime
from typing import Any, get_args, get_origin
from uuid import UUID

from pydantic import AwareDatetime

from convostore.domain.codec import bare, is_nested

_SCALARS: dict[Any, str] = {
    bool: "boolean",
    int: "bigint",
    float: "double precision",
    UUID: "uuid",
    datetime: "timestamptz",
    AwareDatetime: "timestamptz",
}
_LISTS = {float: "vector", UUID: "uuid[]", str: "text[]"}


def column_type(annotation: Any) -> str:
    """Return the PostgreSQL type of a field: jsonb for what is nested, text for enums and literals."""
    if is_nested(annotation):
        return "jsonb"
    kind = bare(annotation)
    return _LISTS[bare(get_args(kind)[0])] if get_origin(kind) is list else _SCALARS.get(kind, "text")
