"""Models to rows and back: one column per field, its type and conversions read off the model.

Rows become models without validation: they were validated when they were written, and the columns hold their types.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

import asyncpg
from pydantic import AwareDatetime, TypeAdapter
from pydantic_core import to_json

from convostore.errors import StoreError
from convostore.models.base import Model
from convostore.postgres.pool import encode_vector

M = TypeVar("M", bound=Model)

_SCALARS: dict[Any, str] = {
    str: "text",
    bool: "boolean",
    int: "bigint",
    float: "double precision",
    UUID: "uuid",
    datetime: "timestamptz",
    AwareDatetime: "timestamptz",
}


def quoted(name: str) -> str:
    """Return a column's name as SQL writes it: several are words of SQL, such as `timestamp`."""
    return f'"{name}"'


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
    """Return the PostgreSQL type of a field: scalars and lists of ids are columns, what is nested is jsonb."""
    kind = bare(annotation)
    if kind in _SCALARS:
        return _SCALARS[kind]
    if get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return "text"
    if get_origin(kind) is list:
        item = bare(get_args(kind)[0])
        return {float: "vector", UUID: "uuid[]", str: "text[]"}.get(item, "jsonb")
    return "jsonb"


class RowMapping(Generic[M]):
    """How one model stands in rows whose columns are its fields, in their order.

    Attributes:
        columns: the names of the fields.
        types: their PostgreSQL types.
    """

    def __init__(self, name: str, model: type[M]) -> None:
        self._name = name
        self._model = model
        fields = model.model_fields
        self.columns = tuple(fields)
        self.types = {column: column_type(field.annotation) for column, field in fields.items()}
        self._encoders = {column: _encoder(self.types[column]) for column in fields}

    @cached_property
    def selected(self) -> str:
        """The columns as a select list."""
        return ", ".join(map(quoted, self.columns))

    @cached_property
    def _decoders(self) -> list[tuple[str, Callable[[Any], Any] | None]]:
        fields = self._model.model_fields
        return [(column, _decoder(fields[column].rebuild_annotation(), self.types[column])) for column in self.columns]

    def parameters(self, item: M, columns: Iterable[str] | None = None) -> list[Any]:
        """Return the values of an item's columns, all or these, as the driver takes them."""
        values, encoders = item.__dict__, self._encoders
        return [
            encode(values[column]) if (encode := encoders[column]) and values[column] is not None else values[column]
            for column in columns or self.columns
        ]

    def listed(self, column: str) -> str:
        """Return the type of the elements of a list of a column's values, as `lists` gives them."""
        return "text" if self.types[column].endswith("[]") else self.types[column]

    def lists(self, rows: list[list[Any]]) -> list[list[Any]]:
        """Return rows of parameters as a list for each column."""
        values = [list(column) for column in zip(*rows, strict=True)]
        for number, column in enumerate(self.columns):
            encode = _LISTED.get("[]" if self.types[column].endswith("[]") else self.types[column])
            if encode is not None:
                values[number] = [None if value is None else encode(value) for value in values[number]]
        return values

    def model(self, row: asyncpg.Record, tenant_id: UUID) -> M:
        """Return a row as a model.

        Raises:
            StoreError: the row belongs to another tenant than the one asked for, which must never happen.
        """
        if row["tenant_id"] != tenant_id:
            raise StoreError(f"{self._name}: a row of another tenant was read")
        values = {
            column: decode(row[column]) if decode and row[column] is not None else row[column]
            for column, decode in self._decoders
        }
        item = self._model.__new__(self._model)
        object.__setattr__(item, "__dict__", values)
        object.__setattr__(item, "__pydantic_fields_set__", set(self.columns))
        object.__setattr__(item, "__pydantic_extra__", None)
        object.__setattr__(item, "__pydantic_private__", None)
        return item


def _encoder(column: str) -> Callable[[Any], Any] | None:
    return _json_text if column == "jsonb" else None


def _decoder(annotation: Any, column: str) -> Callable[[Any], Any] | None:
    if column == "jsonb":
        return TypeAdapter(annotation).validate_json
    kind = bare(annotation)
    return kind if isinstance(kind, type) and issubclass(kind, Enum) else None


def _json_text(value: Any) -> str:
    return to_json(value).decode()


def _array_text(values: list[Any]) -> str:
    escaped = (str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"


_LISTED: dict[str, Callable[[Any], Any]] = {"vector": encode_vector, "[]": _array_text}
"""How values that are lists themselves stand in a list."""
