"""The rows of every declaration of a configuration store, by factories and contract methods that follow from it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pydantic
import pytest

from convostore.contracts import ConfigStore
from convostore.domain.declaration import Declaration
from convostore.domain.declarations import CONFIG
from convostore.models import Rule
from convostore.testing import factories

VALUES: dict[type, tuple[Any, ...]] = {str: ("a", "B", "é", "Z", "_", "z9"), int: (1, -1)}
"""Values to order by, some of which a linguistic collation would order otherwise than code points do."""


@dataclass(frozen=True, eq=False)
class ConfigRows:
    """What tests do with the rows of one declaration, whichever it is."""

    declaration: Declaration[Any]

    def __str__(self) -> str:
        return self.declaration.name

    @property
    def methods(self) -> dict[str, str]:
        """The contract's methods by what they do."""
        name, plural = self.declaration.name, self.declaration.plural
        one = {verb: f"{verb}_{name}" for verb in ("save", "get", "delete", "restore")}
        return {**one, "save_all": f"save_{plural}", "list": self.declaration.listed, "stream": f"iter_{plural}"}

    @property
    def filters(self) -> dict[str, str]:
        """The columns that lists can be filtered by, with the names of the parameters."""
        parameters = inspect.signature(getattr(ConfigStore, self.declaration.listed)).parameters.values()
        options = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
        return {name.removesuffix("_only"): name for name in options if name not in ("limit", "offset", "after")}

    @property
    def constraint(self) -> str:
        """The name of the first unique set."""
        return self.declaration.constraint(self.declaration.unique[0])

    def make(self, tenant_id: UUID, agent_id: UUID, /, **changes: Any) -> Any:
        """Make a small row of a tenant and, if it is owned, of an agent."""
        return self._factory("make")(*self._owner(tenant_id, agent_id), **changes)

    def full(self, tenant_id: UUID, agent_id: UUID) -> Any:
        """Make a row with every field filled."""
        return self._factory("full")(*self._owner(tenant_id, agent_id))

    def like(self, item: Any) -> Any:
        """Make a new row with the values of another in its first unique set."""
        unique = {name: getattr(item, name) for name in self.declaration.unique[0].columns}
        return self.make(item.tenant_id, agent_of(item)).model_copy(update=unique)

    def change(self, item: Any) -> None:
        """Give one field of a row another value: none that it is identified, listed or filtered by."""
        declaration = self.declaration
        fixed = {"tenant_id", *declaration.key, *declaration.lookup, *declaration.owned_by, *declaration.only}
        fixed.update(*(unique.columns for unique in declaration.unique))
        others = [make(item.tenant_id, agent_of(item)) for make in (self.full, self.make)]
        for name in reversed(declaration.content):
            for other in others:
                if name not in fixed and getattr(other, name) != getattr(item, name):
                    setattr(item, name, getattr(other, name))
                    return
        raise AssertionError(f"{self}: make_ and full_ differ in no field")

    def spread(self, tenant_id: UUID, agent_id: UUID) -> Iterator[Any]:
        """Make rows whose place in a list is decided by each column of the order, and among equals by the key."""
        items = [self.make(tenant_id, agent_id, id=UUID(int=number)) for number in (5, 3, 4, 1, 2)]
        yield from items
        for column in self.declaration.order:
            name = column.removeprefix("-")
            for value in VALUES.get(type(getattr(items[0], name)), ()):
                try:
                    yield self.make(tenant_id, agent_id, **{name: value})
                except pydantic.ValidationError:
                    continue

    async def save(self, store: ConfigStore, item: Any, **options: Any) -> UUID:
        """Save a row."""
        saved: UUID = await self._method(store, "save")(item, **options)
        return saved

    async def save_all(self, store: ConfigStore, items: list[Any], **options: Any) -> list[UUID]:
        """Save several rows."""
        saved: list[UUID] = await self._method(store, "save_all")(items, **options)
        return saved

    async def get(self, store: ConfigStore, item: Any) -> Any:
        """Read a row by the lookup of an item."""
        return await self._method(store, "get")(*self._lookup(item))

    async def delete(self, store: ConfigStore, item: Any) -> bool:
        """Delete a row by the lookup of an item."""
        deleted: bool = await self._method(store, "delete")(*self._lookup(item))
        return deleted

    async def restore(self, store: ConfigStore, item: Any) -> bool:
        """Restore a row by the lookup of an item."""
        restored: bool = await self._method(store, "restore")(*self._lookup(item))
        return restored

    async def list(self, store: ConfigStore, tenant_id: UUID, agent_id: UUID, **options: Any) -> list[Any]:
        """List the rows of a tenant or agent, without the filters that are on by default."""
        options = {"limit": 1_000, **self._unfiltered, **options}
        listed: Any = await self._method(store, "list")(*self._owner(tenant_id, agent_id), **options)
        return listed[0] if isinstance(listed, tuple) else listed  # type: ignore[no-any-return]

    def stream(self, store: ConfigStore, tenant_id: UUID, agent_id: UUID, **options: Any) -> AsyncIterator[Any]:
        """Stream the rows of a tenant or agent, without the filters that are on by default."""
        options = {**self._unfiltered, **options}
        items: AsyncIterator[Any] = self._method(store, "stream")(*self._owner(tenant_id, agent_id), **options)
        return items

    @property
    def _unfiltered(self) -> dict[str, bool]:
        return {f"{column}_only": False for column in self.declaration.only}

    def _method(self, store: ConfigStore, verb: str) -> Any:
        return getattr(store, self.methods[verb])

    def _factory(self, kind: str) -> Any:
        return getattr(factories, f"{kind}_{self.declaration.name}")

    def _owner(self, tenant_id: UUID, agent_id: UUID) -> tuple[UUID, ...]:
        return (tenant_id, agent_id) if self.declaration.owner else (tenant_id,)

    def _lookup(self, item: Any) -> tuple[Any, ...]:
        return (item.tenant_id, *(getattr(item, name) for name in self.declaration.lookup))


def agent_of(item: Any) -> UUID:
    """Return the agent of a row, or some agent if it is not owned."""
    agent: UUID = getattr(item, "agent_id", None) or uuid4()
    return agent


def made(rows: ConfigRows, count: int) -> list[Any]:
    """Make small rows of one new tenant and agent."""
    tenant, agent = uuid4(), uuid4()
    return [rows.make(tenant, agent) for _ in range(count)]


async def save_rules(store: ConfigStore, tenant: UUID, agent: UUID, *changes: dict[str, Any]) -> list[Rule]:
    """Save one rule for each set of changes."""
    rules = [factories.make_rule(tenant, agent, **change) for change in changes]
    for rule in rules:
        await store.save_rule(rule)
    return rules


CONFIG_ROWS = [ConfigRows(declaration) for declaration in CONFIG]
OWNED_ROWS = [rows for rows in CONFIG_ROWS if rows.declaration.owner]
UNIQUE_ROWS = [rows for rows in CONFIG_ROWS if rows.declaration.unique]

every_config = pytest.mark.parametrize("rows", CONFIG_ROWS, ids=str)
every_owned = pytest.mark.parametrize("rows", OWNED_ROWS, ids=str)
every_unique = pytest.mark.parametrize("rows", UNIQUE_ROWS, ids=str)
