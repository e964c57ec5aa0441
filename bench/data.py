"""The inputs of the operations: as many items for one tenant as for many."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import cache
from random import Random
from sys import byteorder
from typing import Any, TypeVar
from uuid import UUID

from bench.engines import SPREAD, TENANTS

T = TypeVar("T")

DIMENSIONS = 384
ITEMS = 256
"""In a block, for one tenant or many: as many as calls are made at a time at most, so that none meets another."""
_NOISE = 1 << 20
_FLOAT = 4


def spread(make: Callable[[UUID], T]) -> dict[int, list[T]]:
    """Make the items of a block for each number of tenants, distributed evenly."""
    return {tenants: [make(TENANTS[number % tenants]) for number in range(ITEMS)] for tenants in SPREAD}


class Vectors:
    """Random vectors at low cost: windows of one noise array, independent unless they overlap."""

    def __init__(self, seed: int = 1) -> None:
        self._random = Random(seed)
        self._noise = _noise()
        self._bytes = _big_endian()

    def floats(self) -> list[float]:
        return self.at(self._start())

    def at(self, number: int) -> list[float]:
        """Return the vector of a number, the same each time."""
        start = number % (_NOISE - DIMENSIONS)
        return self._noise[start : start + DIMENSIONS].tolist()

    def wire(self) -> bytes:
        """Return a vector in the binary format of pgvector."""
        start = self._start() * _FLOAT
        return _HEADER + self._bytes[start : start + DIMENSIONS * _FLOAT]

    def _start(self) -> int:
        return self._random.randrange(_NOISE - DIMENSIONS)


@cache
def _noise() -> array[float]:
    random = Random(0)
    return array("f", (random.gauss(0, 1) for _ in range(_NOISE)))


@cache
def _big_endian() -> bytes:
    swapped = array("f", _noise())
    if byteorder == "little":
        swapped.byteswap()
    return swapped.tobytes()


_HEADER = DIMENSIONS.to_bytes(2, "big") + b"\0\0"


def columns(model: type[Any]) -> str:
    """Return the fields of a model as a select list."""
    return ", ".join(f'"{name}"' for name in model.model_fields)
