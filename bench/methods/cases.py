"""What a method is given, and the statement that does the same by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeAlias

from bench.data import columns
from bench.methods.slots import Slot
from convostore import Stores
from convostore.domain.declaration import Declaration

LIMIT = 100
"""Of lists."""

Arguments: TypeAlias = "tuple[Any, ...]"


@dataclass(frozen=True)
class Case:
    """A method of a store, and the same by hand.

    Attributes:
        given: its arguments for a slot, by the stores (0) or by hand (1), which write rows of their own.
        options: keyword arguments, of the stores alone.
        sql: the statement by hand; None if there is none.
        params: its parameters, from the arguments.
        model: what its rows become; None if it returns nothing.
        before: is called with the arguments before they are measured.
        many: the parameters are a list of rows.
        document: a row is a JSON document.
    """

    store: str
    method: str
    given: Callable[[Slot, int], Arguments]
    sql: str | None = None
    params: Callable[..., Any] = lambda *arguments: arguments
    model: type[Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    before: Callable[[Stores, Arguments], Awaitable[Any]] | None = None
    many: bool = False
    document: bool = False

    def __str__(self) -> str:
        return f"{self.store}.{self.method}"

    def compared(self, found: Any) -> list[Any]:
        """Return the models that were read, whether by a list or by one; scores are left out."""
        page = found[0] if isinstance(found, tuple) and isinstance(found[0], list) else found
        items = page if isinstance(page, list) else [] if page is None else [page]
        return [item[0] if isinstance(item, tuple) else item for item in items]


def values_of(declaration: Declaration[Any]) -> Callable[[Any], Arguments]:
    return attrgetter(*declaration.model.model_fields)


def insert(declaration: Declaration[Any]) -> str:
    fields = declaration.model.model_fields
    numbers = ", ".join(f"${number}" for number in range(1, len(fields) + 1))
    return f"INSERT INTO convostore.{declaration.name} AS t ({columns(declaration.model)}) VALUES ({numbers})"


def upsert(declaration: Declaration[Any]) -> str:
    kept = ("tenant_id", *declaration.key, "created_at", "revision")
    replaced = [f'"{name}" = excluded."{name}"' for name in declaration.model.model_fields if name not in kept]
    return (
        f"{insert(declaration)} ON CONFLICT (tenant_id, {', '.join(declaration.key)}) DO UPDATE SET "
        f"revision = t.revision + 1, {', '.join(replaced)}"
    )


def select(declaration: Declaration[Any], where: str) -> str:
    return f"SELECT {columns(declaration.model)} FROM convostore.{declaration.name} WHERE {where}"


def ordered(declaration: Declaration[Any]) -> str:
    by = [f'"{name.removeprefix("-")}"{" DESC" * name.startswith("-")}' for name in declaration.order]
    return f"ORDER BY {', '.join([*by, *declaration.key])} LIMIT {LIMIT}"


def many(declaration: Declaration[Any]) -> dict[str, Any]:
    """Return what a case needs for a list of rows."""
    values = values_of(declaration)
    return {"many": True, "params": lambda items: [values(each) for each in items]}
