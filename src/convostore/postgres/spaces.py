"""Spaces, the vectors of one tenant with one number of dimensions: which have an index, which searches leave many."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from uuid import UUID

from convostore.postgres.database import Database
from convostore.postgres.queries import queries

EXACT_ROWS = 20_000
"""Up to how many rows a search compares all of them."""

INDEX_PREFIX = "episode_hnsw_"

_SPACES_LIFE = 30.0
_SIZES_LIFE = 5.0
_SIZES = 10_000


def index_name(tenant_id: UUID, dimensions: int) -> str:
    """Return the name of a space's index."""
    return f"{INDEX_PREFIX}{tenant_id.hex}_{dimensions}"


class Spaces:
    """Which spaces have an index, as the catalogue said at most 30 seconds ago.

    A search is right without the index it could have used, and with one that is gone.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._schemas: dict[str, str] = {}
        self._expires = 0.0

    async def schema_of(self, index: str) -> str | None:
        """Return the schema of pgvector if there is such an index and it is complete, else None."""
        if time.monotonic() >= self._expires:
            self._schemas = dict(await self._database.fetch(*queries("spaces").indexes(prefix=INDEX_PREFIX)))  # type: ignore[arg-type]
            self._expires = time.monotonic() + _SPACES_LIFE
        return self._schemas.get(index)


class Sizes:
    """Which searches leave more than an exact one compares, as counted at most 5 seconds ago."""

    def __init__(self) -> None:
        self._large: OrderedDict[Hashable, tuple[bool, float]] = OrderedDict()

    def get(self, search: Hashable) -> bool | None:
        """Return whether a search leaves many; None if that is not known."""
        large, expires = self._large.get(search, (None, 0.0))
        return large if time.monotonic() < expires else None

    def put(self, search: Hashable, *, large: bool) -> None:
        """Remember what was counted."""
        self._large.pop(search, None)
        self._large[search] = (large, time.monotonic() + _SIZES_LIFE)
        if len(self._large) > _SIZES:
            self._large.popitem(last=False)
