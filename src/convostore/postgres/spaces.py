"""Which spaces (tenant and number of dimensions) have a table of their own, and which filtered sets are large."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from uuid import UUID

from convostore.postgres.database import Database
from convostore.postgres.queries import queries

EXACT_ROWS = 20_000
"""The largest filtered set that is searched exactly."""

TABLE_PREFIX = "large_space_"

_SPACES_LIFE = 30.0
_SIZES_LIFE = 5.0
_SIZES = 10_000


def table_name(tenant_id: UUID, dimensions: int) -> str:
    """Return the name of a large space's table, as `convostore.large_space_table` does."""
    return f"{TABLE_PREFIX}{tenant_id.hex}_{dimensions}"


class Spaces:
    """Which spaces have a table with an index, from the catalogue, cached for 30 seconds.

    Whether the table is ready, a search finds out for itself; one whose table has been dropped fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tables: set[str] = set()
        self._expires = 0.0

    async def has(self, table: str) -> bool:
        """Return whether a table is there with a valid index."""
        if time.monotonic() >= self._expires:
            rows = await self._database.fetch(*queries("spaces").tables(prefix=TABLE_PREFIX))
            self._tables = {row["name"] for row in rows}
            self._expires = time.monotonic() + _SPACES_LIFE
        return table in self._tables

    def forget(self) -> None:
        """Look at the catalogue again before the next answer."""
        self._expires = 0.0


class Sizes:
    """Whether the filtered set of a search is larger than an exact search compares, cached for 5 seconds (LRU)."""

    def __init__(self) -> None:
        self._large: OrderedDict[Hashable, tuple[bool, float]] = OrderedDict()

    def get(self, search: Hashable) -> bool | None:
        """Return whether the filtered set of a search is large; None if that is not cached."""
        large, expires = self._large.get(search, (None, 0.0))
        return large if time.monotonic() < expires else None

    def put(self, search: Hashable, *, large: bool) -> None:
        """Cache a count."""
        self._large.pop(search, None)
        self._large[search] = (large, time.monotonic() + _SIZES_LIFE)
        if len(self._large) > _SIZES:
            self._large.popitem(last=False)
