"""Which spaces (tenant and number of dimensions) have an HNSW index, and which searches have large filtered sets."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from uuid import UUID

from convostore.postgres.database import Database
from convostore.postgres.queries import queries

EXACT_ROWS = 20_000
"""The largest filtered set that is searched exactly."""

INDEX_PREFIX = "episode_hnsw_"

_SPACES_LIFE = 30.0
_SIZES_LIFE = 5.0
_SIZES = 10_000


def index_name(tenant_id: UUID, dimensions: int) -> str:
    """Return the name of a space's index."""
    return f"{INDEX_PREFIX}{tenant_id.hex}_{dimensions}"


class Spaces:
    """Which spaces have an index, from the catalogue, cached for 30 seconds.

    A stale answer costs time, not correctness: a search is correct without its index, and with one that was dropped.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._schemas: dict[str, str] = {}
        self._expires = 0.0

    async def schema_of(self, index: str) -> str | None:
        """Return the schema of pgvector if this index exists and is valid, else None."""
        if time.monotonic() >= self._expires:
            self._schemas = dict(await self._database.fetch(*queries("spaces").indexes(prefix=INDEX_PREFIX)))  # type: ignore[arg-type]
            self._expires = time.monotonic() + _SPACES_LIFE
        return self._schemas.get(index)


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
