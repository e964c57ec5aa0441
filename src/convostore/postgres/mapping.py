"""Maps models to rows and back: one column per field, with types and conversions derived from the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Generic, TypeVar
from uuid import UUID

import asyncpg
from pydantic_core import to_json

from convostore.errors import StoreError
from convostore.models.base import Model
from convostore.postgres.annotations import column_type
from convostore.postgres.decoding import Decoder, constructed, of_enum, of_json
from convostore.postgres.pool import encode_vector

M = TypeVar("M", bound=Model)


def quoted(name: str) -> str:
    """Return a column's name as a quoted identifier: several are key words of SQL, such as `timestamp`."""
    return f'"{name}"'


class RowMapping(Generic[M]):
    """Maps one model to rows whose columns are its fields, in their order.

    Attributes:
        columns: the names of the fields.
        types: their PostgreSQL types.
    """

    def __init__(self, name: str, model: type[M]) -> None:
        self._name = name
        self._model = model
        fields = model.model_fields
        self.columns = tuple(fields)
        self._fields = set(fields)
        self.types = {column: column_type(field.annotation) for column, field in fields.items()}
        self._encoders = {column: _encoder(self.types[column]) for column in fields}

    @cached_property
    def selected(self) -> str:
        """The columns as a select list."""
        return ", ".join(map(quoted, self.columns))

    @cached_property
    def _decoders(self) -> list[tuple[str, Decoder]]:
        """The columns whose values must be decoded."""
        types = {name: field.rebuild_annotation() for name, field in self._model.model_fields.items()}
        decoders = (
            (name, of_json(kind) if self.types[name] == "jsonb" else of_enum(kind)) for name, kind in types.items()
        )
        return [(column, decode) for column, decode in decoders if decode]

    def parameters(self, item: M, columns: Iterable[str] | None = None) -> list[Any]:
        """Return an item's columns, all or these, as arguments for the driver."""
        values, encoders = item.__dict__, self._encoders
        return [
            encode(values[column]) if (encode := encoders[column]) and values[column] is not None else values[column]
            for column in columns or self.columns
        ]

    def listed(self, column: str) -> str:
        """Return the element type of the array in which `lists` passes a column."""
        return "text" if self.types[column].endswith("[]") else self.types[column]

    def lists(self, rows: list[list[Any]]) -> list[list[Any]]:
        """Return rows of arguments as one array per column, for `unnest`."""
        values = [list(column) for column in zip(*rows, strict=True)]
        for number, column in enumerate(self.columns):
            encode = _LISTED.get("[]" if self.types[column].endswith("[]") else self.types[column])
            if encode is not None:
                values[number] = [None if value is None else encode(value) for value in values[number]]
        return values

    def model(self, row: asyncpg.Record, tenant_id: UUID) -> M:
        """Return a row as a model; like `models`."""
        return self.models((row,), tenant_id)[0]

    def models(self, rows: Iterable[asyncpg.Record], tenant_id: UUID) -> list[M]:
        """Return rows as models. A row starts with the columns; further ones are ignored.

        Raises:
            StoreError: a row belongs to another tenant, which row-level security rules out.
        """
        model, columns, fields, decoders = self._model, self.columns, self._fields, self._decoders
        found = []
        for row in rows:
            values = dict(zip(columns, row, strict=False))
            if values["tenant_id"] != tenant_id:
                raise StoreError(f"{self._name}: a row of another tenant was read")
            for column, decode in decoders:
                if (value := values[column]) is not None:
                    values[column] = decode(value)
            found.append(constructed(model, values, fields))
        return found


def _encoder(column: str) -> Callable[[Any], Any] | None:
    return _json_text if column == "jsonb" else None


def _json_text(value: Any) -> str:
    return to_json(value).decode()


def _array_text(values: list[Any]) -> str:
    escaped = (str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"


_LISTED: dict[str, Callable[[Any], Any]] = {"vector": encode_vector, "[]": _array_text}
"""Encoders for elements that are lists themselves, which asyncpg would take for another dimension."""
