"""Backends that leak: the reference, in which one method or one check forgets whose call it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

from convostore.call.call import Call, Proceed
from convostore.call.effects import Effect
from convostore.call.store import Store
from convostore.domain.declarations import DECLARATIONS
from convostore.domain.revisions import unique_conflict
from convostore.errors import NotFoundError, StoreError
from convostore.inmemory.table import InMemoryTable
from convostore.models.base import Model
from convostore.testing.isolation.calls import methods_of
from tests.unit.calls import STORES


class Leak:
    """An interceptor that makes one method of a store reach all tenants.

    A read answers with what other tenants have too; a write writes to every tenant; a session is anybody's.
    """

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._tenants: dict[UUID, None] = {}

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        if call.tenant_id is not None:
            self._tenants[call.tenant_id] = None
        if call.operation != self._operation:
            return await proceed(call)
        if "session_id" in call.arguments and call.store == "session":
            return await proceed(call.with_arguments({**call.arguments, "tenant_id": None}))
        others = [_as_of(call, tenant) for tenant in self._tenants if tenant != call.tenant_id]
        if call.effect is Effect.READ:
            return await _found_anywhere(call, others, proceed)
        for other in others:
            try:
                await proceed(other)
            except StoreError:
                continue
        return await proceed(call)


async def _found_anywhere(call: Call, others: list[Call], proceed: Proceed) -> Any:
    result = await proceed(call)
    for other in others:
        if isinstance(result, list):
            result = [*result, *await proceed(other)]
        elif isinstance(result, tuple):
            more, count = await proceed(other)
            result = [*result[0], *more], result[1] + count
        elif result is None:
            result = await proceed(other)
        elif isinstance(result, Model) and hasattr(result, "entities"):
            more = await proceed(other)
            result = result.model_copy(update={"entities": [*result.entities, *more.entities]})
    return result


def _as_of(call: Call, tenant: UUID) -> Call:
    """Return the same call of another tenant."""

    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [moved(item) for item in value]
        if isinstance(value, Model) and "tenant_id" in type(value).model_fields:
            return value.model_copy(update={"tenant_id": tenant}, deep=True)
        return value

    arguments = {name: moved(value) for name, value in call.arguments.items()}
    if "tenant_id" in arguments:
        arguments["tenant_id"] = tenant
    return replace(call, arguments=arguments, tenant_id=tenant)


class LeakyTable(InMemoryTable[Any]):
    """A table one of whose checks looks at the rows of all tenants."""

    leak = ""

    def check_unique(self, item: Any) -> None:
        super().check_unique(item)
        for unique in self._declaration.unique if self.leak == "unique" else ():
            where = dict(zip(unique.columns, unique.values_of(item), strict=True))
            for tenant in self._rows:
                for other in self.select(tenant, where):
                    if self._declaration.key_of(other.read()) != self._declaration.key_of(item):
                        raise unique_conflict(self._declaration, unique, item)

    def _stored(self, item: Any) -> Any:
        found = super()._stored(item)
        if self.leak == "revision" and found is None:
            key = dict(zip(self._declaration.key, self._declaration.key_of(item), strict=True))
            found = next((row for tenant in self._rows for row in self.select(tenant, key, deleted=None)), None)
        return found

    def _check_parents(self, item: Any) -> None:
        try:
            super()._check_parents(item)
        except NotFoundError:
            for column, name in self._declaration.parents.items():
                table: Any = self._tables[name]
                if self.leak != "parents" or not any(
                    table.select(tenant, {"id": getattr(item, column)}) for tenant in table._rows
                ):
                    raise


def leaking_methods() -> Iterator[tuple[str, Callable[[], Store]]]:
    """Yield a leaking store for every method of every contract that concerns a tenant."""
    for contract, store in STORES.items():
        for method in methods_of(contract):
            if getattr(getattr(contract, method.name), "__isabstractmethod__", False):
                made = lambda store=store, name=method.name: store().with_interceptors(Leak(name))  # noqa: E731
                yield f"{contract.kind}.{method.name}", made


def leaking_checks() -> Iterator[tuple[str, Callable[[], Store]]]:
    """Yield a leaking store for every check of every declaration."""
    kinds = {"entity": "memory", "episode": "memory", "relationship": "memory", "session": "session"}
    stores = {contract.kind: store for contract, store in STORES.items()}
    for declaration in DECLARATIONS:
        checks = ["revision"] if declaration.name != "session" else []
        checks += ["unique"] * bool(declaration.unique) + ["parents"] * bool(declaration.parents)
        for check in checks:

            def made(declaration: Any = declaration, check: str = check) -> Store:
                store: Any = stores[kinds.get(declaration.name, "config")]()
                table = LeakyTable(declaration, store._clock, store._tables)
                table.leak = check
                store._tables[declaration.name] = table
                return store  # type: ignore[no-any-return]

            yield f"{declaration.name}: {check}", made


LEAKS: dict[str, Callable[[], Store]] = dict([*leaking_methods(), *leaking_checks()])
"""Every leaking store, by what leaks."""
