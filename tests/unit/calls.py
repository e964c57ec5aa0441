"""Every method of every contract, with arguments that it accepts."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cached_property
from inspect import Parameter
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID, uuid4

from convostore import inmemory
from convostore.call.store import Store
from convostore.contracts import AuditStore, ConfigStore, MemoryStore, ProfileStore, SessionStore
from convostore.models import ScopeFilter
from convostore.models.base import Model
from tests.unit.examples import EXAMPLES

STORES: dict[type[Store], type[Store]] = {
    SessionStore: inmemory.InMemorySessionStore,
    ConfigStore: inmemory.InMemoryConfigStore,
    MemoryStore: inmemory.InMemoryMemoryStore,
    AuditStore: inmemory.InMemoryAuditStore,
    ProfileStore: inmemory.InMemoryProfileStore,
}
"""The reference store of each contract."""


@dataclass(frozen=True)
class Method:
    """A method of a contract."""

    contract: type[Store]
    name: str

    def __str__(self) -> str:
        return f"{self.contract.__name__}.{self.name}"

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Its parameters without `self`."""
        signature = inspect.signature(getattr(self.contract, self.name))
        return {name: parameter for name, parameter in signature.parameters.items() if name != "self"}

    @cached_property
    def hints(self) -> dict[str, Any]:
        """The types of its parameters, with their bounds."""
        return typing.get_type_hints(getattr(self.contract, self.name), include_extras=True)

    def arguments(self, tenant: UUID) -> dict[str, Any]:
        """Return valid arguments by name, all that it has, for one tenant."""
        return {name: _valid(name, self.hints[name], tenant) for name in self.parameters}

    def of(self, store: Store) -> Any:
        """Return the method of a store."""
        return getattr(store, self.name)


def _valid(name: str, hint: Any, tenant: UUID) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _valid(name, arguments[0], tenant)
    if name in SPECIAL and hint is not bool:
        return SPECIAL[name]
    if origin is Annotated:
        return _valid(name, arguments[0], tenant)
    if name == "tenant_id":
        return tenant
    if origin is Literal:
        return arguments[0]
    if origin is list:
        return [_valid(name, arguments[0], tenant)]
    if issubclass(hint, Model):
        changes = {"tenant_id": tenant} if "tenant_id" in hint.model_fields else {}
        return hint(**{**EXAMPLES[hint].__dict__, **changes})
    return next(iter(hint)) if issubclass(hint, Enum) else VALUES[hint]()


async def _no_opinion(_: str, episodes: list[Any]) -> list[float]:
    return [0.0] * len(episodes)


SPECIAL: dict[str, Any] = {"query_embedding": [1.0], "language": "simple", "before": datetime(2026, 1, 1, tzinfo=UTC)}
SPECIAL["scope_filter"] = ScopeFilter()
SPECIAL |= {"since": SPECIAL["before"], "until": SPECIAL["before"], "as_of": SPECIAL["before"], "at": SPECIAL["before"]}
SPECIAL["embeddings"] = {uuid4(): [1.0]}
SPECIAL["value"] = {"a": [1]}
SPECIAL |= {"weights": (0.5, 0.5), "half_life": timedelta(days=1), "rerank": _no_opinion}
VALUES: dict[type, Any] = {UUID: uuid4, str: lambda: "text", int: lambda: 1, float: lambda: 0.5, bool: lambda: True}


def _methods() -> Iterator[Method]:
    for contract in STORES:
        yield from (Method(contract, name) for name in sorted(contract.__abstractmethods__))


METHODS: tuple[Method, ...] = tuple(_methods())
"""Every method of every contract."""
