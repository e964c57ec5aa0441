"""Column types, derived from the types of a model's fields."""

from __future__ import annotations

import types
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from pydantic import AwareDatetime

_SCALARS: dict[Any, str] = {
    str: "text",
    bool: "boolean",
    int: "bigint",
    float: "double precision",
    UUID: "uuid",
    datetime: "timestamptz",
    AwareDatetime: "timestamptz",
}


def bare(annotation: Any) -> Any:
    """Return a type without its metadata and without None."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if is_optional(annotation):
        return bare(next(item for item in get_args(annotation) if item is not types.NoneType))
    return annotation


def is_optional(annotation: Any) -> bool:
    """Return whether a field may be None, and its column NULL."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return get_origin(annotation) in (Union, types.UnionType) and types.NoneType in get_args(annotation)


def column_type(annotation: Any) -> str:
    """Return the PostgreSQL type of a field: a scalar type, an array of ids or texts, a vector, or else jsonb."""
    kind = bare(annotation)
    if kind in _SCALARS:
        return _SCALARS[kind]
    if get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return "text"
    if get_origin(kind) is list:
        item = bare(get_args(kind)[0])
        return {float: "vector", UUID: "uuid[]", str: "text[]"}.get(item, "jsonb")
    return "jsonb"
