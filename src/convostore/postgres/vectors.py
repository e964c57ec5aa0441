"""Vector search: chooses the statement of a search, runs it, and caches how large its filtered set is."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import asyncpg

from convostore.call.call import current_call
from convostore.call.metrics import VECTOR_SEARCHES
from convostore.errors import StoreError
from convostore.models.base import Model
from convostore.postgres.composition import Expression
from convostore.postgres.database import Database
from convostore.postgres.mapping import RowMapping
from convostore.postgres.spaces import Sizes, Spaces, table_name
from convostore.postgres.vector_statements import COVERED_DIMENSIONS, Searched, VectorStatements, numbered

M = TypeVar("M", bound=Model)

NO_TABLE = "42P01"

APPROXIMATE_DEPTH = 250
"""The largest `offset` + `limit` of an approximate search; deeper pages are searched exactly."""


@dataclass(frozen=True)
class Search:
    """A search to be run.

    Attributes:
        statement: returns rows with their `score`, best first, then by id; if it counts, also whether the filtered set
            is `large`.
        arguments: its arguments: tenant, query, limit and so on.
        numbers: the parameter of each filter.
        counted: the cache key of the count; empty if the statement does not count.
        large: whether the filtered set is searched by an index; None if the statement decides.
    """

    statement: str
    arguments: tuple[Any, ...]
    numbers: Mapping[str, str]
    counted: tuple[Hashable, ...] = ()
    large: bool | None = False


class VectorSearch(Generic[M]):
    """Runs the searches of one kind on a database."""

    def __init__(self, searched: Searched[M], database: Database) -> None:
        self._database = database
        self._mapping = RowMapping(searched.declaration)
        self._statements = VectorStatements(searched)
        self._spaces = Spaces(database) if searched.covered else None
        self._sizes = Sizes()

    async def __call__(
        self,
        tenant_id: UUID,
        query: Sequence[float],
        filters: Mapping[str, Any],
        limit: int,
        offset: int,
        min_score: float,
    ) -> list[tuple[M, float]]:
        """Return the nearest rows with their scores; filters that are None are left out."""
        return self.found(*await self.run(tenant_id, query, filters, limit, offset, min_score))

    async def run(
        self,
        tenant_id: UUID,
        query: Sequence[float],
        filters: Mapping[str, Any],
        limit: int,
        offset: int,
        min_score: float,
        within: Callable[[Search], tuple[Any, ...]] = lambda search: (search.statement, *search.arguments),
    ) -> tuple[Search, list[asyncpg.Record]]:
        """Run a search within a statement, which `within` returns with its arguments; return it and the rows."""
        asked = (tenant_id, query, filters, limit, offset, min_score)
        search = await self.prepared(*asked)
        try:
            return search, await self._database.fetch(*within(search))
        except StoreError as error:
            if error.code != NO_TABLE or self._spaces is None:
                raise
        # The table of its space was dropped after the catalogue had been read.
        self._spaces.forget()
        search = await self.prepared(*asked)
        return search, await self._database.fetch(*within(search))

    async def prepared(
        self,
        tenant_id: UUID,
        query: Sequence[float],
        filters: Mapping[str, Any],
        limit: int,
        offset: int,
        min_score: float,
    ) -> Search:
        """Choose the statement of a search; for filters that are expressions, the size of their set is not cached."""
        given = {name: value for name, value in filters.items() if value is not None}
        names, values, dimensions = tuple(given), tuple(given.values()), len(query)
        covered = dimensions <= COVERED_DIMENSIONS
        fixed = (tenant_id, query, limit, offset, min_score, margin(dimensions), dimensions)
        asked = (tenant_id, dimensions, names, values)
        cached = not any(isinstance(value, Expression) for value in values)
        large = self._sizes.get(asked) if cached else None
        table = table_name(tenant_id, dimensions)
        deep = limit + offset > APPROXIMATE_DEPTH
        if self._spaces is None or large is False or deep or not await self._spaces.has(table):
            return Search(self._statements.nearest(names, covered=covered), (*fixed, *values), numbered(names))
        statement = self._statements.approximate(names, table, 2 * _step(limit + offset), covered=covered)
        return Search(statement, (*fixed, *values, large), numbered(names), asked if large is None else (), large)

    def found(self, search: Search, rows: Sequence[Any]) -> list[tuple[M, float]]:
        """Return the models and scores of a search's rows, and cache its count."""
        large = search.large
        if search.counted and rows and rows[0]["large"] is not None:
            large = rows[0]["large"]
            self._sizes.put(search.counted, large=large)
        count_search("approximate" if large else "exact")
        return self._mapping.scored(rows, search.arguments[0])

    def found_in_part(self, search: Search, rows: Sequence[Any], tenant_id: UUID) -> list[tuple[M, float]]:
        """As `found`, from rows without names, of a part of a composed statement."""
        large = search.counted and rows and rows[0][-1]
        count_search("approximate" if large else "exact")
        return self._mapping.scored(rows, tenant_id, len(self._mapping.columns))


def count_search(strategy: Literal["exact", "approximate"]) -> None:
    """Count a search of the running call."""
    call = current_call()
    VECTOR_SEARCHES.add(call.store, call.operation, strategy)


def margin(dimensions: int) -> float:
    """Return the error bound of a distance in half precision: closer distances may be in the wrong order.

    Rounding to half precision costs each of the two directions up to 2⁻¹¹ of its length, and less than 2⁻¹⁸ for
    subnormal components. A sum of n products in float32 has an error of up to n ∙ 2⁻²⁴ (Higham, "Accuracy and Stability
    of Numerical Algorithms", 2002, section 3.1), four times. Twice that, as both compared distances have it.
    """
    return 2 * (2**-10 + 2**-17 + dimensions * 2**-22)


def _step(wanted: int) -> int:
    """Round up to 25, 50, 100 and so on, to bound the number of prepared statements."""
    step = 25
    while step < wanted:
        step *= 2
    return step
