"""Decodes stored values to the values of model fields, without validation: they were validated on write.

A decoder follows from the type of a field. Most types need none: the driver, or a JSON parser, gives them as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar, get_args, get_origin
from uuid import UUID

from pydantic import AwareDatetime
from pydantic_core import from_json

from convostore.models.base import Model
from convostore.postgres.annotations import bare

M = TypeVar("M", bound=Model)
Decoder = Callable[[Any], Any]

_SCALARS: dict[Any, Decoder] = {
    UUID: UUID,
    datetime: datetime.fromisoformat,
    AwareDatetime: datetime.fromisoformat,
    # jsonb stores numbers as numeric: 1e23 is returned as an integer.
    float: float,
}


def constructed(model: type[M], values: dict[str, Any], fields: Iterable[str] | None = None) -> M:
    """Return a model that holds these values, one for each of its fields, as they are."""
    item = model.__new__(model)
    put = object.__setattr__
    put(item, "__dict__", values)
    put(item, "__pydantic_fields_set__", set(fields or values))
    put(item, "__pydantic_extra__", None)
    put(item, "__pydantic_private__", None)
    return item


def of_enum(annotation: Any) -> Decoder | None:
    """Return what makes a member of an enum from its value, None if a type is no enum."""
    kind = bare(annotation)
    is_enum = isinstance(kind, type) and issubclass(kind, Enum)
    return {member.value: member for member in kind}.__getitem__ if is_enum else None


def of_json(annotation: Any) -> Decoder:
    """Return what makes the value of a field from JSON text."""
    decode = _decoder(annotation)
    return from_json if decode is None else lambda text: decode(from_json(text))


@cache
def of_document(model: type[M]) -> Callable[[dict[str, Any]], M]:
    """Return what makes a model from parsed JSON, which it may keep and change."""
    build: Callable[[dict[str, Any]], M] = _model(model)
    return build


@cache
def _decoder(annotation: Any) -> Decoder | None:
    kind = bare(annotation)
    if kind in _SCALARS:
        return _SCALARS[kind]
    if get_origin(kind) in (list, dict):
        return _collection(get_origin(kind), get_args(kind)[-1])
    if isinstance(kind, type) and issubclass(kind, Model):
        return _model(kind)
    return of_enum(kind)


def _collection(kind: Any, item: Any) -> Decoder | None:
    decode = _decoder(item)
    if decode is None:
        return None
    if kind is list:
        return lambda values: [decode(value) for value in values]
    return lambda values: {key: decode(value) for key, value in values.items()}


def _model(model: type[Model]) -> Callable[[dict[str, Any]], Any]:
    types = {name: field.rebuild_annotation() for name, field in model.model_fields.items()}
    decoders = [(name, decode) for name, kind in types.items() if (decode := _decoder(kind))]
    fields = set(types)

    def build(values: dict[str, Any]) -> Model:
        if values.keys() != fields:
            # Written before the model had one of its fields.
            return model.model_validate(values)
        for name, decode in decoders:
            if (value := values[name]) is not None:
                values[name] = decode(value)
        return constructed(model, values, fields)

    return build
