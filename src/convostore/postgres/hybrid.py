"""Hybrid search: what a vector search and a text search find, fused by reciprocal rank in one statement."""

from __future__ import annotations

from convostore.domain.declarations import EPISODE
from convostore.gateway.memory import RANK_CONSTANT, Filter
from convostore.postgres.mapping import quoted
from convostore.postgres.tenancy import BIND_TENANT
from convostore.postgres.vectors import Search

_COLUMNS = ", ".join(f"t.{quoted(name)}" for name in EPISODE.columns)
_TYPES = dict(
    zip(Filter._fields, ("uuid", "uuid", "uuid", "text", "timestamptz", "timestamptz", "timestamptz"), strict=True)
)


def fused(search: Search) -> str:
    """Return the statement that fuses a vector search with a text search of the same filters and limit.

    Parameters: those of the vector search, then query, language and prefix of the text search, limit and offset.
    """
    query, language, prefix, limit, offset = (f"${len(search.arguments) + number}" for number in range(1, 6))
    filters = ", ".join(f"{search.numbers.get(name, 'NULL')}::{kind}" for name, kind in _TYPES.items())
    large = ", (SELECT bool_or(n.large) FROM near AS n) AS large" if search.counted else ""
    return (
        f"WITH near AS MATERIALIZED (SELECT s.*, row_number() OVER (ORDER BY s.score DESC, s.id) AS place "
        f"FROM ({search.statement}) AS s), "
        "matching AS (SELECT m.id, row_number() OVER (ORDER BY m.rank DESC, m.id) AS place "
        f"FROM convostore.matching_episodes($1, {search.numbers['agent_id']}, {query}::text, {language}::text, "
        f"{prefix}::boolean, {filters}, $3::bigint) AS m WHERE {BIND_TENANT}), "
        f"fused AS (SELECT f.id, sum(1 / ({RANK_CONSTANT} + f.place)::double precision) AS score "
        "FROM (SELECT id, place FROM matching UNION ALL SELECT id, place FROM near) AS f "
        f"GROUP BY f.id ORDER BY score DESC, f.id LIMIT {limit}::bigint OFFSET {offset}::bigint) "
        f"SELECT {_COLUMNS}, fused.score{large} FROM fused JOIN convostore.episode AS t ON t.tenant_id = $1 "
        f"AND t.id = fused.id WHERE {BIND_TENANT} ORDER BY fused.score DESC, t.id"
    )
