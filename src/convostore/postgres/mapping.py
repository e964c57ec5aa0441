"""Maps models to rows and back: one column per field, with types derived from the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property
from typing import Any, Generic, TypeVar
from uuid import UUID

import asyncpg

from convostore.domain.codec import readable
from convostore.domain.declaration import Declaration
from convostore.errors import StoreError
from convostore.models.base import Model
from convostore.postgres.annotations import column_type
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
        written: the types of what a write gives: the columns, and what is computed from them.
    """

    def __init__(self, declaration: Declaration[M]) -> None:
        self._codec = declaration.codec
        self.columns = declaration.columns
        self._tenant = self.columns.index("tenant_id")
        self._id = self.columns.index(declaration.key[-1])
        self._computed = declaration.computed
        self.types = {column: column_type(field.annotation) for column, field in declaration.model.model_fields.items()}
        self.written = self.types | dict.fromkeys(declaration.computed, "text")
        self._parted = cache(self._of)
        self._lists: dict[int, Callable[[Any], Any]] = {
            number: _array_text if kind.endswith("[]") else encode_vector
            for number, kind in enumerate(self.types.values())
            if kind == "vector" or kind.endswith("[]")
        }

    @cached_property
    def selected(self) -> str:
        """The columns as a select list."""
        return ", ".join(map(quoted, self.columns))

    def parameters(self, item: M, columns: tuple[str, ...] | None = None, **changed: Any) -> list[Any]:
        """Return what a write gives of an item, all or these columns, some changed: computed ones come last."""
        fields, computed = self._parted(columns)
        values = self._codec.to_row(item, fields, **changed)
        for field, make in computed:
            values.append(make(item.__dict__[field]))
        return values

    def _of(self, columns: tuple[str, ...] | None) -> tuple[list[str], list[tuple[str, Callable[[Any], Any]]]]:
        """Return which of the columns are fields, and what computes the others of which field."""
        names = self.written if columns is None else columns
        fields = [name for name in names if name not in self._computed]
        return fields, [self._computed[name] for name in names if name in self._computed]

    def listed(self, column: str) -> str:
        """Return the element type of the array in which `lists` passes a column."""
        return "text" if self.written[column].endswith("[]") else self.written[column]

    def lists(self, rows: list[list[Any]]) -> list[list[Any]]:
        """Return rows of arguments as one array per column, for `unnest`."""
        values = [list(column) for column in zip(*rows, strict=True)]
        for number, encode in self._lists.items():
            values[number] = [None if value is None else encode(value) for value in values[number]]
        return values

    def copies(self, rows: Iterable[asyncpg.Record], tenant_id: UUID) -> dict[UUID, Callable[[], M]]:
        """Return by id what makes a row's model, each time another that its owner can change; see `reader`."""
        read = self.reader(tenant_id)
        return {row[self._id]: self._codec.copies_of(row, read) for row in rows}

    def model(self, row: asyncpg.Record, tenant_id: UUID) -> M:
        """Return a row as a model; see `reader`."""
        return self.reader(tenant_id)(row)

    def models(self, rows: Iterable[Any], tenant_id: UUID) -> Iterator[M]:
        """Yield rows as models, without those that cannot be read; see `reader`."""
        return readable(self.reader(tenant_id), rows)

    def scored(self, rows: Iterable[Any], tenant_id: UUID, score: str | int = "score") -> list[tuple[M, float]]:
        """Return rows with a score as models and scores, without those that cannot be read; see `reader`."""
        read = self.reader(tenant_id)
        return list(readable(lambda row: (read(row), row[score]), rows))

    def reader(self, tenant_id: UUID) -> Callable[[Any], M]:
        """Return what makes models of a tenant's rows. A row starts with the columns; further ones are ignored.

        It raises StoreError for a row that cannot be read, or is another tenant's, which row-level security rules out.
        """
        read, tenant = self._codec.from_row, self._tenant

        def model(row: Any) -> M:
            if row[tenant] != tenant_id:
                raise StoreError(f"{self._codec.name}: a row of another tenant was read")
            return read(row)

        return model


# asyncpg would take an element that is a list for another dimension.
def _array_text(values: list[Any]) -> str:
    escaped = (str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"
