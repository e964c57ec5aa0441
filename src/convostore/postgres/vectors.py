"""Vector search: one statement for each set of filters, exact, or approximate where a space has an index for it.

A row's `direction` is its embedding at length 1 in half precision, which a covering index holds. The statement ranks by
it all that the filters leave, takes every row that could be among the nearest within the error of that, and lets the
float32 vectors decide.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar
from uuid import UUID

from convostore.domain.declaration import Declaration
from convostore.domain.declarations import EPISODE, RULE
from convostore.models.base import Model
from convostore.postgres.database import Database
from convostore.postgres.mapping import RowMapping, quoted
from convostore.postgres.spaces import EXACT_ROWS, Sizes, Spaces, index_name
from convostore.postgres.tenancy import BIND_TENANT

M = TypeVar("M", bound=Model)

COVERED_DIMENSIONS = 1_280
"""How many dimensions a direction may have to fit into an index entry, which holds at most 2,704 bytes."""

APPROXIMATE_DEPTH = 250
"""How deep into the ranking (`offset` + `limit`) an approximate search may go; deeper ones are exact."""

FIXED = 7
"""Parameters of every statement: tenant, query, limit, offset, lowest score, margin, dimensions. Then come filters.

They are numbered, not named as in `sql/*.sql`: which filters there are differs from search to search, and so does the
number at which the parameters of a hybrid search begin.
"""

_WANTED = "($3::bigint + $4::bigint)"
_CANDIDATES = f"2 * {_WANTED} + 50"

_MOST_CANDIDATES = 1_000
"""What pgvector allows as `hnsw.ef_search`."""

_TIME = ("since", "until")

_HNSW = "set_config('hnsw.iterative_scan', 'relaxed_order', true) || set_config('hnsw.ef_search', '{ef}', true)"


@dataclass(frozen=True)
class Searched(Generic[M]):
    """What is searched.

    Attributes:
        declaration: the entity.
        always: a condition on all its rows.
        filters: the conditions on `t` that may be asked for, by name; `{}` stands for the value.
        covered: whether an index covers what a search reads.
        beside: the table that holds embeddings of other models beside the rows' own.
    """

    declaration: Declaration[M]
    filters: Mapping[str, str]
    always: str = "true"
    covered: bool = False
    beside: str | None = None


_MODEL = "t.model_hash = (SELECT hashtextextended({}::text, 0))"

RULES = Searched(
    RULE,
    {"agent_id": "t.agent_id = {}::uuid", "enabled": "t.enabled = {}::boolean", "embedding_model": _MODEL},
    always="t.deleted_at IS NULL",
)

EPISODES = Searched(
    EPISODE,
    {
        "agent_id": "t.agent_id = {}::uuid",
        "customer_profile_id": "t.customer_profile_id = {}::uuid",
        "session_id": "t.session_id = {}::uuid",
        "group_id": "t.group_id = {}::uuid",
        "content_type": "t.content_type = {}::text",
        "since": "t.occurred_at >= {}::timestamptz",
        "until": "t.occurred_at < {}::timestamptz",
        "as_of": "(t.valid_from IS NULL OR t.valid_from <= {0}::timestamptz) "
        "AND (t.valid_to IS NULL OR t.valid_to > {0})",
        "embedding_model": _MODEL,
    },
    covered=True,
    beside="episode_embedding",
)


class VectorStatements:
    """Writes the statements of one kind of search."""

    def __init__(self, searched: Searched[Any]) -> None:
        self._searched = searched
        self._columns = RowMapping(searched.declaration.name, searched.declaration.model).columns
        self.nearest = cache(self._nearest)
        self.approximate = cache(self._approximate)

    def _nearest(self, filters: tuple[str, ...], *, covered: bool) -> str:
        """Exact; parameters: the fixed ones, values of the filters."""
        return self._statement(filters, "", [self._scan(filters, covered=covered)], covered=covered)

    def _approximate(
        self, filters: tuple[str, ...], space: tuple[UUID, int], schema: str, depth: int, *, covered: bool
    ) -> str:
        """Approximate where the filters leave many, else exact; parameters: the fixed ones, values, whether it is many.

        The planner uses the index of a space only if tenant and dimensions stand in the text, and only if no other
        index fits what else is asked for.
        """
        tenant, dimensions = space
        known = f"${FIXED + len(filters) + 1}::boolean"
        hnsw = f"(SELECT {_HNSW.format(ef=min(16 * depth, _MOST_CANDIDATES))}) IS NOT NULL"
        before = (
            f"large AS MATERIALIZED (SELECT coalesce({known}, EXISTS ("
            f"{self._scan(filters, covered=covered, selected='')} OFFSET {EXACT_ROWS})) AS large), "
            "approximate AS MATERIALIZED (SELECT t.id, convostore.distance("
            f"{quoted(schema)}.halfvec(t.direction, {dimensions:d}, true), (SELECT direction FROM query)) AS distance "
            f"FROM convostore.{quoted(self._searched.declaration.name)} AS t WHERE {BIND_TENANT} AND {hnsw} "
            f"AND t.tenant_id = $1 AND t.tenant_id = '{tenant}' AND t.dimensions = {dimensions:d} "
            f"AND (SELECT large FROM large) AND ({self._conditions(numbered(filters))}) IS TRUE "
            f"ORDER BY distance LIMIT {depth:d}), "
            f"enough AS MATERIALIZED (SELECT count(*) >= {_WANTED} AS enough FROM approximate), "
        )
        own = [
            "SELECT a.id, a.distance, false AS beside FROM approximate AS a WHERE (SELECT enough FROM enough)",
            f"{self._scan(filters, covered=covered)} AND NOT (SELECT enough FROM enough)",
        ]
        return self._statement(filters, before, own, covered=covered, more=", (SELECT large FROM large) AS large")

    def _statement(
        self, filters: tuple[str, ...], before: str, own: list[str], *, covered: bool, more: str = ""
    ) -> str:
        model = numbered(filters).get("embedding_model")
        beside = self._searched.beside if model else None
        scans = list(own)
        if beside:
            scans.append(self._scan(filters, covered=False, table=beside))
        rows = f"({' UNION ALL '.join(f'({scan})' for scan in scans)})"
        replaced = {"embedding": "t.compared", "embedding_model": f"{model}::text"} if beside else {}
        columns = ", ".join(
            f"{replaced[name]} AS {quoted(name)}" if name in replaced else f"t.{quoted(name)}" for name in self._columns
        )
        compared, joined = "t.embedding", ""
        if beside:
            compared = "coalesce(b.embedding, t.embedding)"
            joined = (
                f" LEFT JOIN convostore.{beside} AS b ON c.beside AND b.tenant_id = $1 AND b.id = c.id "
                f"AND b.embedding_model = {model}::text"
            )
        return (
            "WITH query AS MATERIALIZED (SELECT convostore.direction($2) AS direction), "
            f"{before}near AS MATERIALIZED (SELECT s.* FROM {rows} AS s ORDER BY s.distance LIMIT {_CANDIDATES}), "
            "edge AS MATERIALIZED (SELECT $6::double precision + coalesce((SELECT n.distance FROM near AS n "
            f"ORDER BY n.distance LIMIT 1 OFFSET {_WANTED} - 1), 'Infinity') AS distance), "
            f"crowded AS MATERIALIZED (SELECT count(*) >= {_CANDIDATES} "
            "AND max(n.distance) <= (SELECT distance FROM edge) AS crowded FROM near AS n), "
            "candidate AS MATERIALIZED (SELECT n.id, n.beside FROM near AS n "
            "WHERE n.distance <= (SELECT distance FROM edge) AND NOT (SELECT crowded FROM crowded) "
            f"UNION ALL SELECT s.id, s.beside FROM {rows} AS s "
            "WHERE (SELECT crowded FROM crowded) AND s.distance <= (SELECT distance FROM edge)) "
            f"SELECT {columns}, t.score{more} FROM candidate AS c CROSS JOIN LATERAL ("
            f"SELECT t.*, {compared} AS compared, convostore.similarity({compared}, $2) AS score "
            f"FROM convostore.{quoted(self._searched.declaration.name)} AS t{joined} "
            f"WHERE {BIND_TENANT} AND t.tenant_id = $1 AND t.id = c.id OFFSET 0) AS t "
            "WHERE t.score >= $5::double precision ORDER BY t.score DESC, t.id LIMIT $3 OFFSET $4"
        )

    def _scan(
        self, filters: tuple[str, ...], *, covered: bool, table: str | None = None, selected: str | None = None
    ) -> str:
        """SELECT what the filters leave in a table, with distances."""
        if selected is None:
            beside = "false" if table is None else "true"
            distance = "convostore.distance(t.direction, (SELECT direction FROM query))"
            selected = f" t.id, {distance} AS distance, {beside} AS beside"
        given = numbered(filters)
        where = f"t.dimensions = $7::smallint AND {self._conditions(given)}"
        if self._searched.covered and table is None:
            where = f"t.dimensions {'<=' if covered else '>'} {COVERED_DIMENSIONS} AND {self._of_index(given)}"
        return (
            f"SELECT{selected} FROM convostore.{quoted(table or self._searched.declaration.name)} AS t "
            f"WHERE {BIND_TENANT} AND t.tenant_id = $1 AND {where}"
        )

    def _of_index(self, given: Mapping[str, str]) -> str:
        """Return the conditions so that of all indexes the covering one is the cheapest, whatever the statistics say.

        Its columns are compared as rows: then the index by which a customer's episodes are listed does not fit. Without
        a customer, the time is no condition of an index: the planner would expect a descent for each customer there is.
        """
        others = {name: number for name, number in given.items() if name not in ("customer_profile_id", *_TIME)}
        customer = given.get("customer_profile_id")
        if customer is None:
            time = [f"({self._searched.filters[name].format(given[name])}) IS TRUE" for name in _TIME if name in given]
            return " AND ".join(["t.dimensions = $7::smallint", *time, self._conditions(others)])
        bounds = []
        for name, without_time, with_time in (("since", ">=", ">="), ("until", "<=", "<")):
            columns, values, compared = ["t.dimensions", "t.customer_profile_id"], ["$7", customer], without_time
            if name in given:
                columns, values, compared = [*columns, "t.occurred_at"], [*values, given[name]], with_time
            bounds.append(f"({', '.join(columns)}) {compared} ({', '.join(values)})")
        return " AND ".join([*bounds, self._conditions(others)])

    def _conditions(self, given: Mapping[str, str]) -> str:
        asked = [self._searched.filters[name].format(number) for name, number in given.items()]
        return " AND ".join([self._searched.always, *asked])


@dataclass(frozen=True)
class Search:
    """A search to be run.

    Attributes:
        statement: finds rows with their `score`, best first, then by id; where it counts, also whether it is `large`.
        arguments: its parameters: tenant, query, limit and so on.
        numbers: which parameter is the value of which filter.
        counted: the search whose size it counts; empty if that is known.
    """

    statement: str
    arguments: tuple[Any, ...]
    numbers: Mapping[str, str]
    counted: tuple[Hashable, ...] = ()


class VectorSearch(Generic[M]):
    """Runs the searches of one kind on a database."""

    def __init__(self, searched: Searched[M], database: Database) -> None:
        self._database = database
        self._mapping = RowMapping(searched.declaration.name, searched.declaration.model)
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
        """Return what is nearest to a vector with its scores; a filter that is None does not filter."""
        search = await self.prepared(tenant_id, query, filters, limit, offset, min_score)
        return self.found(search, await self._database.fetch(search.statement, *search.arguments))

    async def prepared(
        self,
        tenant_id: UUID,
        query: Sequence[float],
        filters: Mapping[str, Any],
        limit: int,
        offset: int,
        min_score: float,
    ) -> Search:
        """Choose the statement of a search."""
        given = {name: value for name, value in filters.items() if value is not None}
        names, values, dimensions = tuple(given), tuple(given.values()), len(query)
        covered = dimensions <= COVERED_DIMENSIONS
        fixed = (tenant_id, query, limit, offset, min_score, margin(dimensions), dimensions)
        asked = (tenant_id, dimensions, names, values)
        large = self._sizes.get(asked)
        schema = None
        if self._spaces and large is not False and limit + offset <= APPROXIMATE_DEPTH:
            schema = await self._spaces.schema_of(index_name(tenant_id, dimensions))
        if schema is None:
            return Search(self._statements.nearest(names, covered=covered), (*fixed, *values), numbered(names))
        depth = 2 * _step(limit + offset)
        statement = self._statements.approximate(names, (tenant_id, dimensions), schema, depth, covered=covered)
        return Search(statement, (*fixed, *values, large), numbered(names), asked if large is None else ())

    def found(self, search: Search, rows: Sequence[Any]) -> list[tuple[M, float]]:
        """Return what the rows of a search say, and remember what it has counted."""
        if search.counted and rows and rows[0]["large"] is not None:
            self._sizes.put(search.counted, large=rows[0]["large"])
        return [(self._mapping.model(row, search.arguments[0]), row["score"]) for row in rows]


def margin(dimensions: int) -> float:
    """Return by how much two distances must differ for their order to be certain.

    A direction and the query's each lose up to 2⁻¹¹ of their length to half precision (and less than 2⁻¹⁸ to what is
    subnormal there); adding up n products in float32, up to n ∙ 2⁻²⁴ each time (Higham, "Accuracy and Stability of
    Numerical Algorithms", 2002, section 3.1), which happens four times. Both distances may be off by all that.
    """
    return 2 * (2**-10 + 2**-17 + dimensions * 2**-22)


def numbered(filters: tuple[str, ...]) -> dict[str, str]:
    """Return which parameter is the value of which filter."""
    return {name: f"${number}" for number, name in enumerate(filters, start=FIXED + 1)}


def _step(wanted: int) -> int:
    """Return the least of 25, 50, 100 and so on that is enough: so many different statements are prepared."""
    step = 25
    while step < wanted:
        step *= 2
    return step
