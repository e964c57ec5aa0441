"""Stores that note how long each call took."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, cast
from uuid import UUID

from convostore.stores import Stores

Durations = defaultdict[tuple[str, str], list[float]]
"""Seconds of every call, by store and method."""

_STORES = ("sessions", "config", "memory", "audit", "profiles")


def measured(stores: Stores) -> tuple[Stores, Durations]:
    """Return the same stores, and what their calls take from now on."""
    durations: Durations = defaultdict(list)
    timed = {name: cast("Any", _Timed(name, getattr(stores, name), durations)) for name in _STORES}
    return dataclasses.replace(stores, **timed), durations


class _Timed:
    def __init__(self, name: str, store: Any, durations: Durations) -> None:
        self._name = name
        self._store = store
        self._durations = durations

    def for_tenant(self, tenant_id: UUID) -> _Timed:
        return _Timed(self._name, self._store.for_tenant(tenant_id), self._durations)

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        called = getattr(self._store, method)

        async def call(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            result = await called(*args, **kwargs)
            self._durations[self._name, method].append(time.perf_counter() - started)
            return result

        return call
