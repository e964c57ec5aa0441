"""What stored JSON must look like to be read: types and shape of a model's fields, as schemas of pydantic-core.

Bounds are not checked again: they were when the model was made. Fields that the model does not have are skipped at
every depth: a newer release has written them. A field that is missing was written before the model had it, and gets its
default.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal, get_args, get_origin
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, JsonValue
from pydantic.fields import FieldInfo
from pydantic_core import CoreConfig, CoreSchema, SchemaValidator, core_schema

from convostore.domain.codec.annotations import bare, hints_of, is_optional
from convostore.domain.codec.instances import maker
from convostore.models.fields import new_id

Reader = Callable[[str | bytes], Any]
"""Makes a value of JSON text. Raises pydantic's ValidationError, which quotes no values."""


def value_reader(annotation: Any) -> Reader:
    """Return what reads the value of a field."""
    return _reader(_schema(annotation))


def fields_reader(model: type[BaseModel], without: Collection[str] = ()) -> Reader:
    """Return what reads a model's fields but these, as a tuple of values by name, None, and the names that it found."""
    return _reader(_fields(model, without))


def _reader(schema: CoreSchema) -> Reader:
    return SchemaValidator(schema, CoreConfig(strict=True, hide_input_in_errors=True)).validate_json


def _schema(annotation: Any) -> CoreSchema:
    schema = _of_kind(bare(annotation))
    return core_schema.nullable_schema(schema) if is_optional(annotation) else schema


def _of_kind(kind: Any) -> CoreSchema:
    if kind in _SCALARS:
        return _SCALARS[kind]
    arguments = get_args(kind)
    if get_origin(kind) is Literal:
        return core_schema.literal_schema(list(arguments))
    if get_origin(kind) is list:
        return core_schema.list_schema(_schema(arguments[0]))
    if get_origin(kind) is dict:
        return core_schema.dict_schema(_schema(arguments[0]), _schema(arguments[1]))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return core_schema.enum_schema(kind, list(kind), sub_type="str")
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        # Not `model_schema`: pydantic-core answers that by the validator which the model has already, bounds and all.
        return core_schema.no_info_after_validator_function(maker(kind), _fields(kind))
    raise TypeError(f"there is no stored form of {kind}")


def _fields(model: type[BaseModel], without: Collection[str] = ()) -> CoreSchema:
    return core_schema.model_fields_schema(
        {
            name: core_schema.model_field(_with_default(model.model_fields[name], _schema(hint)))
            for name, hint in hints_of(model).items()
            if name not in without
        },
        model_name=model.__name__,
        extra_behavior="ignore",
    )


def _with_default(field: FieldInfo, schema: CoreSchema) -> CoreSchema:
    # An id that is not stored cannot be made up: each reading would find another.
    if field.is_required() or field.default_factory is new_id:
        return schema
    if field.default_factory is not None:
        return core_schema.with_default_schema(schema, default_factory=field.default_factory)
    return core_schema.with_default_schema(schema, default=field.default)


def _time(text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is UTC:
            return moment
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (OverflowError, TypeError, ValueError):
        # The message quotes the text.
        pass
    raise ValueError("must be a time with its zone, in ISO 8601")


_TIME = core_schema.no_info_plain_validator_function(_time)
_SCALARS: dict[Any, CoreSchema] = {
    str: core_schema.str_schema(),
    bool: core_schema.bool_schema(),
    int: core_schema.int_schema(),
    # Whole floats too: jsonb keeps a number as decimal digits, and 1e23 comes back as an integer.
    float: core_schema.float_schema(),
    UUID: core_schema.uuid_schema(),
    datetime: _TIME,
    AwareDatetime: _TIME,
    JsonValue: core_schema.any_schema(),
}
