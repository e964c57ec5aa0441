"""Agents' configurations, kept in this process and used as long as the database has the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

_MOST = 64 << 20
"""The memory that kept rows may take, in bytes, estimated."""

_ROW, _ITEM = 2_000, 32
"""The memory of a row apart from its texts and lists, and of an item of a list."""

Key = tuple[UUID, UUID]
"""A tenant and one of its agents."""


@dataclass(frozen=True)
class Configuration:
    """What an agent owns.

    Attributes:
        state: differs whenever the database has something else.
        copies: by the plural of their kind and by id what makes a copy of each row's model, in their order.
        size: an estimate of the memory that it takes, in bytes.
    """

    state: str
    copies: Mapping[str, Mapping[UUID, Callable[[], Any]]]
    size: int


class KeptConfigurations:
    """Configurations of agents; those that were not asked for longest are given up when they take too much memory."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept: OrderedDict[Key, Configuration] = OrderedDict()
        self._taken = 0

    def get(self, key: Key) -> Configuration | None:
        """Return what is kept of an agent."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found

    def put(self, key: Key, configuration: Configuration) -> None:
        """Keep the configuration of an agent instead of an earlier one."""
        self.forget(key)
        self._kept[key] = configuration
        self._taken += configuration.size
        while self._taken > self._most:
            _, dropped = self._kept.popitem(last=False)
            self._taken -= dropped.size

    def forget(self, key: Key) -> None:
        """Give up what is kept of an agent."""
        if (dropped := self._kept.pop(key, None)) is not None:
            self._taken -= dropped.size


def size_of(rows: Iterable[Iterable[Any]]) -> int:
    """Return an estimate of the memory that rows take, in bytes."""
    return sum(
        _ROW + sum(len(value) * (_ITEM if isinstance(value, list) else 1) for value in row if hasattr(value, "__len__"))
        for row in rows
    )
