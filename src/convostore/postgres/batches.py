"""Rows in the order of their keys, and in batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

_ROWS = 200
_CHARACTERS = 8 << 20


def in_order(keys: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return keys sorted; UUIDs compare faster as integers."""
    return sorted(keys, key=lambda key: tuple(map(int, key)))


def in_batches(rows: Iterable[list[Any]]) -> Iterator[list[list[Any]]]:
    """Yield rows in batches of bounded size."""
    batch: list[list[Any]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum([len(value) for value in row if type(value) is str])
        if len(batch) == _ROWS or size > _CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
