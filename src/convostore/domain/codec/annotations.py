"""What the type of a model's field says of how its value is stored."""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, JsonValue


@cache
def hints_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the types of a model's fields, in their order."""
    hints = typing.get_type_hints(model, include_extras=True)
    return {name: hints[name] for name in model.model_fields}


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


def is_nested(annotation: Any) -> bool:
    """Return whether a field is JSON in a row: all but scalars and lists of numbers, ids and texts."""
    kind = bare(annotation)
    if get_origin(kind) is list:
        return bare(get_args(kind)[0]) not in (float, UUID, str)
    return kind is JsonValue or get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, BaseModel))
