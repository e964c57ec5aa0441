"""A codec per entity: model → stored form → model.

    to_document, from_document    JSON: values in Redis, hot copies, documents and merges of profiles
    to_row, from_row              a value per field: rows of a table; what is nested is JSON within
    to_canonical, from_document   JSON whose bytes are hashed: bodies of the audit trail

Writing trusts the model, which was validated. Reading checks types and shape (see `schemas`) and makes the model
without validating bounds again.

Encryption of an entity's sensitive fields would stand here and nowhere else: the three `to_` methods would seal what
they have made (a document, the JSON or the text of one field, canonical bytes) and the two `from_` methods open it,
with the tenant's key and the codec's name and field as associated data. No backend would notice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from enum import Enum
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

import pydantic
from pydantic_core import to_json

from convostore.domain.codec.annotations import bare, hints_of, is_nested
from convostore.domain.codec.canonical import canonical
from convostore.domain.codec.instances import Parts, maker
from convostore.domain.codec.schemas import fields_reader, value_reader
from convostore.domain.codec.unreadable import Unreadable
from convostore.models.base import Model

M = TypeVar("M", bound=Model)


class Codec(Generic[M]):
    """Turns models of one kind into what is stored, and back.

    Args:
        name: what errors call the entity.
        model: its model.
        key: the fields that errors name it by.
        beside: fields that are stored beside a document instead of in it.
    """

    def __init__(
        self, name: str, model: type[M], key: tuple[str, ...] = ("id",), *, beside: Collection[str] = ()
    ) -> None:
        self.name = name
        self.model = model
        self.key = key
        self._beside = frozenset(beside)
        self.columns = tuple(model.model_fields)

    @cached_property
    def nested(self) -> frozenset[str]:
        """The fields that are JSON in a row."""
        return frozenset(name for name, hint in hints_of(self.model).items() if is_nested(hint))

    def to_document(self, item: M, **further: Any) -> bytes:
        """Return an item as JSON, without the fields beside it and with further keys in front."""
        values = item.__dict__
        if self._beside:
            values = {name: value for name, value in values.items() if name not in self._beside}
        return to_json({**further, **values})

    def from_document(self, document: str | bytes, key: Any, **beside: Any) -> M:
        """Return the item in a document.

        Args:
            document: JSON, of this release or another.
            key: what errors name it by.
            beside: the values of the fields beside it.

        Raises:
            Unreadable: it is not JSON of this kind.
        """
        try:
            parts = self._read_fields(document)
        except pydantic.ValidationError as error:
            wrong = _field(error)
        else:
            if beside:
                parts[0].update(beside)
                parts[2].update(beside)
            return self._make(parts)
        # Outside of the block: the chain would name what lies deeper.
        raise Unreadable(self.name, key, wrong)

    def to_row(self, item: M, columns: Iterable[str] | None = None, **changed: Any) -> list[Any]:
        """Return the values of an item's fields, all or these, some changed, each as its column holds it."""
        values, nested = {**item.__dict__, **changed} if changed else item.__dict__, self.nested
        return [
            to_json(values[column]).decode() if column in nested and values[column] is not None else values[column]
            for column in columns or self.columns
        ]

    @cached_property
    def from_row(self) -> Callable[[Collection[Any]], M]:
        """Makes an item of a row, which begins with the values of all fields; what comes after those is left out.

        Values that are not nested come from the driver, with their types. Raises Unreadable.
        """
        values_of, make, fields = self._values_of, self._make, set(self.columns)

        def read(row: Collection[Any]) -> M:
            try:
                values = values_of(*row)
            except (TypeError, ValueError) as error:
                failure = error
            else:
                return make((values, None, fields.copy()))
            self._check_columns(dict(zip(self.columns, row, strict=False)))
            raise failure

        return read

    def copies_of(self, row: Collection[Any], read: Callable[[Collection[Any]], M]) -> Callable[[], M]:
        """Return what makes the item of a row over and over, each time as `read` does, but faster.

        What is nested is read again; other values are immutable, or lists of what is.
        """
        try:
            values = read(row).__dict__
        except Unreadable:
            return lambda: read(row)
        given, make, fields = dict(zip(self.columns, row, strict=False)), self._make, set(self.columns)
        lists = [name for name, value in values.items() if type(value) is list and name not in self.nested]
        nested = [(name, self._readers[name], given[name]) for name in self.nested if given[name] is not None]

        def copy() -> M:
            own = values.copy()
            for name in lists:
                own[name] = values[name].copy()
            for name, value_of, stored in nested:
                own[name] = value_of(stored)
            return make((own, None, fields.copy()))

        return copy

    def to_canonical(self, item: M) -> str:
        """Return the canonical form of an item; `from_document` reads it."""
        return canonical(item)

    @cached_property
    def _make(self) -> Callable[[Parts], M]:
        return maker(self.model)

    @cached_property
    def _read_fields(self) -> Callable[[str | bytes], Parts]:
        return fields_reader(self.model, self._beside)

    @cached_property
    def _readers(self) -> dict[str, Callable[[Any], Any]]:
        """The columns whose values are not what the model holds, with what reads them."""
        readers = {
            column: value_reader(hint) if column in self.nested else _choice(bare(hint))
            for column, hint in hints_of(self.model).items()
        }
        return {column: read for column, read in readers.items() if read}

    @cached_property
    def _values_of(self) -> Callable[..., dict[str, Any]]:
        """Takes the values of a row, and returns those of the fields by name."""
        # Generated, as namedtuple generates its constructor: a loop over the columns takes half as long again.
        readers = {f"_{column}": read for column, read in self._readers.items()}
        given = (
            f"None if {name} is None else _{name}({name})" if f"_{name}" in readers else name for name in self.columns
        )
        values = ", ".join(f"{name!r}: {value}" for name, value in zip(self.columns, given, strict=True))
        return eval(f"lambda {', '.join(self.columns)}, *_: {{{values}}}", readers)  # type: ignore[no-any-return]  # noqa: S307

    def _check_columns(self, values: dict[str, Any]) -> None:
        """Raise the error that says which value of a row cannot be read, if one cannot."""
        for column, read in self._readers.items():
            with suppress(TypeError, ValueError):
                if values[column] is not None:
                    read(values[column])
                continue
            key = ", ".join(str(values[field]) for field in self.key)
            raise Unreadable(self.name, key, column)


class _Choices(dict[Any, Any]):
    """What a field may hold, by what is stored of it."""

    def __missing__(self, key: Any) -> Any:
        raise ValueError("is none of the choices")


def _choice(kind: Any) -> Callable[[Any], Any] | None:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _Choices({member.value: member for member in kind}).__getitem__
    return _Choices({value: value for value in get_args(kind)}).__getitem__ if get_origin(kind) is Literal else None


def _field(error: pydantic.ValidationError) -> str | None:
    """Return the field of the model in which an error is; what lies deeper may be content."""
    place = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
    return str(place[0]) if place else None
