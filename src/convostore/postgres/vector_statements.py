"""The statements of vector search: one per set of filters, exact, or approximate where the space has an HNSW index.

A row's `direction` is its normalised embedding in half precision (halfvec), included in a covering index. The statement
ranks the filtered set by it in an index-only scan, keeps every row within the error bound of the k-th (see `margin`),
and reranks these by their float32 vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from convostore.domain.declaration import Declaration
from convostore.domain.declarations import EPISODE, RULE
from convostore.models.base import Model
from convostore.postgres.mapping import RowMapping, quoted
from convostore.postgres.spaces import EXACT_ROWS
from convostore.postgres.tenancy import BIND_TENANT

M = TypeVar("M", bound=Model)

COVERED_DIMENSIONS = 1_280
"""The largest halfvec that fits into a B-tree entry of 2,704 bytes."""

FIXED = 7
"""Parameters of every statement: tenant, query, limit, offset, lowest score, margin, dimensions. Then come filters.

They are numbered, not named as in `sql/*.sql`: which filters there are differs from search to search, and so does the
number at which the parameters of a hybrid search begin.
"""

_WANTED = "($3::bigint + $4::bigint)"
_CANDIDATES = f"2 * {_WANTED} + 50"

_MOST_CANDIDATES = 1_000
"""The upper bound of `hnsw.ef_search`."""

_TIME = ("since", "until")
_POINTED = {"session_id", "group_id"}
"""Filters with an index of their own, which leaves fewer rows than a customer has."""

_HNSW = "set_config('hnsw.iterative_scan', 'relaxed_order', true) || set_config('hnsw.ef_search', '{ef}', true)"


@dataclass(frozen=True)
class Searched(Generic[M]):
    """What is searched.

    Attributes:
        declaration: the entity.
        always: a condition on every row.
        filters: the optional conditions on `t`, by name; `{}` is the parameter.
        covered: whether a covering index exists.
        beside: the table of embeddings by other models than the rows' own.
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
    """Generates the statements of one kind of search."""

    def __init__(self, searched: Searched[Any]) -> None:
        self._searched = searched
        self._columns = RowMapping(searched.declaration).columns
        self.nearest = cache(self._nearest)
        self.approximate = cache(self._approximate)

    def _nearest(self, filters: tuple[str, ...], *, covered: bool) -> str:
        """Exact search; parameters: the fixed ones, values of the filters."""
        return self._statement(filters, "", [self._scan(filters, covered=covered)], covered=covered)

    def _approximate(self, filters: tuple[str, ...], table: str, depth: int, *, covered: bool) -> str:
        """HNSW search of a large filtered set, else exact; parameters: the fixed ones, values, whether it is large.

        Whatever the statistics say, the planner is to use the HNSW index of the space's table: see
        `convostore.uncovered`. The table holds the same as the episodes in every snapshot in which it is ready.
        """
        known = f"${FIXED + len(filters) + 1}::boolean"
        hnsw = f"(SELECT {_HNSW.format(ef=min(16 * depth, _MOST_CANDIDATES))}) IS NOT NULL"
        before = (
            f"large AS MATERIALIZED (SELECT EXISTS (SELECT FROM convostore.large_space AS l WHERE {BIND_TENANT} "
            f"AND l.tenant_id = $1 AND l.dimensions = $7::smallint AND l.ready) AND coalesce({known}, EXISTS ("
            f"{self._scan(filters, covered=covered, selected='')} OFFSET {EXACT_ROWS})) AS large), "
            "approximate AS MATERIALIZED (SELECT t.id, "
            "convostore.distance(t.direction, (SELECT direction FROM query)) AS distance "
            f"FROM convostore.{quoted(table)} AS t WHERE {BIND_TENANT} AND {hnsw} "
            "AND t.tenant_id = $1 AND t.dimensions > 0 AND (t.dimensions > 0 OR convostore.uncovered(t.dimensions)) "
            f"AND (SELECT large FROM large) AND {self._conditions(numbered(filters))} "
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
        """SELECT the filtered set of a table with distances."""
        if selected is None:
            beside = "false" if table is None else "true"
            distance = "convostore.distance(t.direction, (SELECT direction FROM query))"
            selected = f" t.id, {distance} AS distance, {beside} AS beside"
        given = numbered(filters)
        where = f"t.dimensions = $7::smallint AND {self._conditions(given)}"
        if self._searched.covered and table is None:
            where = self._of_index(given, covered=covered)
        return (
            f"SELECT{selected} FROM convostore.{quoted(table or self._searched.declaration.name)} AS t "
            f"WHERE {BIND_TENANT} AND t.tenant_id = $1 AND {where}"
        )

    def _of_index(self, given: Mapping[str, str], *, covered: bool) -> str:
        """Return the filters with the predicate of the covering index.

        The planner is to read nothing else, whatever the statistics say: see `convostore.uncovered`. Without a customer
        the time is `(…) IS TRUE`, as the planner would otherwise cost a skip scan per customer.
        """
        predicate = f"t.dimensions {'<=' if covered else '>'} {COVERED_DIMENSIONS}"
        parts = [predicate, "t.dimensions = $7::smallint"]
        if "customer_profile_id" not in given:
            parts += [f"({self._conditions({name: given[name]})}) IS TRUE" for name in _TIME if name in given]
            given = {name: number for name, number in given.items() if name not in _TIME}
        if not _POINTED.intersection(given):
            parts.append(f"({predicate} OR convostore.uncovered(t.dimensions))")
        return " AND ".join([*parts, self._conditions(given)])

    def _conditions(self, given: Mapping[str, str]) -> str:
        asked = [self._searched.filters[name].format(number) for name, number in given.items()]
        return " AND ".join([self._searched.always, *asked])


def numbered(filters: tuple[str, ...]) -> dict[str, str]:
    """Return the parameter of each filter."""
    return {name: f"${number}" for number, name in enumerate(filters, start=FIXED + 1)}
