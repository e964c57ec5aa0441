"""Contract methods that follow from a declaration: `get_rule = derived.get(RULE, ConfigStore.get_rule)`.

Name, parameters and types are the contract's; type checkers compare them with the model of the declaration.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from convostore.domain.declaration import Declaration
from convostore.gateway.table import Tables, Where, valid_at
from convostore.models.base import Model

M = TypeVar("M", bound=Model)
P = ParamSpec("P")
T = TypeVar("T")

Method = Callable[P, Coroutine[Any, Any, T]]
Arguments = dict[str, Any]

PAGE = ("limit", "offset", "after")


def get(declaration: Declaration[M], contract: Method[P, M | None], *, by: tuple[str, ...] = ()) -> Method[P, M | None]:
    """Read the row that the arguments name by its lookup, or by other columns."""
    columns = _columns(by or declaration.lookup, contract)

    async def work(store: Tables, given: Arguments) -> M | None:
        return await store._table(declaration).get(given["tenant_id"], **_values(columns, given))

    return _method(contract, work)


def find(declaration: Declaration[M], contract: Method[P, list[M]]) -> Method[P, list[M]]:
    """List a page of the rows that match the arguments: `enabled_only` only enabled ones, `as_of` those valid then."""
    filters = dict(_filters(contract))

    async def work(store: Tables, given: Arguments) -> list[M]:
        where: Where = {
            **valid_at(given.get("as_of")),
            **{column: given[name] if column == name else given[name] or None for column, name in filters.items()},
        }
        page = {name: given[name] for name in PAGE}
        return await store._table(declaration).find(given["tenant_id"], where, **page)

    return _method(contract, work)


def save(declaration: Declaration[M], contract: Method[P, UUID]) -> Method[P, UUID]:
    """Save an item and return its id."""
    item, _ = _names(contract)

    async def work(store: Tables, given: Arguments) -> UUID:
        await store._table(declaration).save(given[item], overwrite=given["overwrite"])
        return _id(declaration, given[item])

    return _method(contract, work)


def save_all(declaration: Declaration[M], contract: Method[P, list[UUID]]) -> Method[P, list[UUID]]:
    """Save several items, all or none, and return their ids."""
    items, _ = _names(contract)

    async def work(store: Tables, given: Arguments) -> list[UUID]:
        await store._table(declaration).save_all(given[items], overwrite=given["overwrite"])
        return [_id(declaration, item) for item in given[items]]

    return _method(contract, work)


def add(declaration: Declaration[M], contract: Method[P, UUID]) -> Method[P, UUID]:
    """Insert an item and return its id."""
    (item,) = _names(contract)

    async def work(store: Tables, given: Arguments) -> UUID:
        await store._table(declaration).add(given[item], language=store._language)
        return _id(declaration, given[item])

    return _method(contract, work)


def add_all(declaration: Declaration[M], contract: Method[P, list[UUID]]) -> Method[P, list[UUID]]:
    """Insert several items, all or none, and return their ids."""
    (items,) = _names(contract)

    async def work(store: Tables, given: Arguments) -> list[UUID]:
        await store._table(declaration).add_all(given[items], language=store._language)
        return [_id(declaration, item) for item in given[items]]

    return _method(contract, work)


def delete(declaration: Declaration[Any], contract: Method[P, bool]) -> Method[P, bool]:
    """Delete the row that the arguments name by its lookup; return whether it existed."""
    columns = _columns(declaration.lookup, contract)

    async def work(store: Tables, given: Arguments) -> bool:
        return await store._table(declaration).delete(given["tenant_id"], **_values(columns, given))

    return _method(contract, work)


def restore(declaration: Declaration[Any], contract: Method[P, bool]) -> Method[P, bool]:
    """Restore the row that the arguments name by its lookup; return whether there was one."""
    columns = _columns(declaration.lookup, contract)

    async def work(store: Tables, given: Arguments) -> bool:
        return await store._table(declaration).restore(given["tenant_id"], **_values(columns, given))

    return _method(contract, work)


def _method(contract: Method[P, T], work: Callable[[Any, Arguments], Coroutine[Any, Any, T]]) -> Method[P, T]:
    """Return a method with the parameters of the contract that does the work with its arguments by name."""
    names = _names(contract)
    parameters = inspect.signature(contract).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}

    def method(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        store, *rest = args
        # The boundary passes every argument by name.
        complete = len(kwargs) == len(names)
        return work(store, kwargs if complete else {**defaults, **dict(zip(names, rest, strict=False)), **kwargs})

    return method


def _names(contract: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of a method's parameters, without `self`."""
    return tuple(inspect.signature(contract).parameters)[1:]


def _columns(columns: tuple[str, ...], contract: Callable[..., Any]) -> dict[str, str]:
    """Return columns with the names of the parameters that hold their values, which follow after `tenant_id`."""
    return dict(zip(columns, _names(contract)[1:], strict=True))


def _values(columns: dict[str, str], given: Arguments) -> Arguments:
    return {column: given[name] for column, name in columns.items()}


def _filters(contract: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """Yield the columns that a list can be filtered by, with the names of their parameters."""
    for name in _names(contract):
        if name not in ("tenant_id", "as_of", *PAGE):
            yield name.removesuffix("_only"), name


def _id(declaration: Declaration[M], item: M) -> UUID:
    found: UUID = declaration.key_of(item)[0]
    return found
