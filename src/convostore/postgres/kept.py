"""Rows of agents' configurations, kept in this process and used as long as the database has the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
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
        rows: by the plural of their kind; nobody may change a list in them.
    """

    state: str
    rows: Mapping[str, Sequence[Sequence[Any]]]


class KeptConfigurations:
    """Configurations of agents; those that were not asked for longest are given up when they take too much memory."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept: OrderedDict[Key, tuple[Configuration, int]] = OrderedDict()
        self._taken = 0

    def get(self, key: Key) -> Configuration | None:
        """Return what is kept of an agent."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: Key, configuration: Configuration) -> None:
        """Keep the configuration of an agent instead of an earlier one."""
        self.forget(key)
        size = sum(map(_size, configuration.rows.values()))
        self._kept[key] = configuration, size
        self._taken += size
        while self._taken > self._most:
            _, (_, freed) = self._kept.popitem(last=False)
            self._taken -= freed

    def forget(self, key: Key) -> None:
        """Give up what is kept of an agent."""
        _, size = self._kept.pop(key, (None, 0))
        self._taken -= size


def _size(rows: Iterable[Sequence[Any]]) -> int:
    return sum(
        _ROW + sum(len(value) * (_ITEM if isinstance(value, list) else 1) for value in row if hasattr(value, "__len__"))
        for row in rows
    )
