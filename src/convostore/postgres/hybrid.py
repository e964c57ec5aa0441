"""Hybrid search: what a vector search and a text search find, fused by scores in one statement."""

from __future__ import annotations

from dataclasses import fields

from convostore.domain.declarations import EPISODE
from convostore.domain.fusion import CONTEXT_SHARE, ENOUGH, Parts
from convostore.domain.scoring import SCORE_DECIMALS
from convostore.gateway.memory import Filter
from convostore.postgres.mapping import quoted
from convostore.postgres.tenancy import BIND_TENANT
from convostore.postgres.vector_statements import EPISODES
from convostore.postgres.vectors import Search

PARTS = tuple(field.name for field in fields(Parts))
"""The columns that say how a score came about."""

_COLUMNS = ", ".join(f"t.{quoted(name)}" for name in EPISODE.columns)
_TYPES = dict(
    zip(Filter._fields, ("uuid", "uuid", "uuid", "text", "timestamptz", "timestamptz", "timestamptz"), strict=True)
)
_OWN = f"t.tenant_id = $1 AND t.id = {{}} AND {BIND_TENANT}"

_ABSENT = {"text_part": "0", "vector_part": "0", "recency": "1"}
"""The parts of what no search found itself."""


def fused(search: Search, *, context: bool) -> str:
    """Return the statement that fuses a vector search with a text search of the same filters and limit.

    As `domain.fusion` does. Parameters: those of the vector search, then query, terms and language of the text search,
    the share of words in the score, half-life and moment, limit and offset, and with context the neighbours on a side.
    """
    query, terms, language, share, half_life, at, limit, offset, neighbours = (
        f"${len(search.arguments) + number}" for number in range(1, 10)
    )
    filters = ", ".join(f"{search.numbers.get(name, 'NULL')}::{kind}" for name, kind in _TYPES.items())
    counted, large = (
        (", s.large", ", (SELECT bool_or(n.large) FROM near AS n) AS large") if search.counted else ("", "")
    )
    own = ", ".join(
        f"coalesce(s.{name}, {_ABSENT[name]}) AS {name}" if name in _ABSENT else f"s.{name}"
        for name in PARTS
        if name != "context_part"
    )
    lent = _lent(search, neighbours) if context else "SELECT NULL::uuid AS id, 0::double precision AS lent LIMIT 0"
    return (
        f"WITH near AS MATERIALIZED (SELECT s.id, s.score, {_rank('s')}{counted} FROM ({search.statement}) AS s), "
        f"matching AS MATERIALIZED (SELECT m.id, m.score, {_rank('m')}, {_of_text('m')} AS strength "
        f"FROM convostore.scored_episodes($1, {search.numbers['agent_id']}, {query}::text, {terms}::text[], false, "
        f"{language}::text, {filters}, $3::bigint) AS m WHERE {BIND_TENANT}), "
        "candidate AS MATERIALIZED (SELECT id, m.score AS text_score, m.rank AS text_rank, m.strength, "
        "n.score AS near, n.rank AS vector_rank FROM matching AS m FULL JOIN near AS n USING (id)), "
        "found AS MATERIALIZED (SELECT b.id, b.text_score, b.text_rank, b.strength, b.vector_rank, "
        f"CASE WHEN {half_life}::interval IS NULL THEN 1 ELSE (SELECT {_recency(half_life, at)} "
        f"FROM convostore.episode AS t WHERE {_OWN.format('b.id')}) END AS recency, "
        f"coalesce(b.near, {_similarity(search)}) AS vector_score FROM candidate AS b), "
        "scored AS MATERIALIZED (SELECT b.*, "
        f"coalesce({share}::double precision * b.strength, 0) AS text_part, "
        f"coalesce((1 - {share}) * {_of_vector('b.vector_score')}, 0) AS vector_part FROM found AS b), "
        f"lent AS MATERIALIZED ({lent}), "
        f"whole AS (SELECT id, {own}, coalesce(l.lent, 0) AS context_part "
        "FROM scored AS s FULL JOIN lent AS l USING (id)), "
        "best AS (SELECT w.*, round(((w.text_part + w.vector_part) * w.recency + w.context_part) "
        f"* 1e{SCORE_DECIMALS}::double precision) / 1e{SCORE_DECIMALS}::double precision AS score "
        f"FROM whole AS w ORDER BY score DESC, w.id LIMIT {limit}::bigint OFFSET {offset}::bigint) "
        f"SELECT {_COLUMNS}, best.score, {', '.join(f'best.{name}' for name in PARTS)}{large} "
        # OFFSET 0 forces index lookups: the planner would hash all of the tenant's episodes.
        "FROM best CROSS JOIN LATERAL (SELECT t.* FROM convostore.episode AS t "
        f"WHERE {_OWN.format('best.id')} OFFSET 0) AS t ORDER BY best.score DESC, t.id"
    )


def _rank(alias: str) -> str:
    """Return the place of a row among what one search found."""
    return f"row_number() OVER (ORDER BY {alias}.score DESC, {alias}.id) AS rank"


def _recency(half_life: str, at: str) -> str:
    """Return what a score is worth at a moment: half for every half-life of age.

    After 500 half-lives it stays at next to nothing: nothing at all, PostgreSQL refuses as underflow.
    """
    age = f"greatest(extract(epoch FROM {at}::timestamptz - t.occurred_at), 0)"
    passed = f"least({age} / extract(epoch FROM {half_life}::interval), 500)"
    return f"power(0.5::double precision, {passed}::double precision)"


def _of_text(alias: str) -> str:
    """Return how strong a BM25 score is: its square, 1 for the best, times how sure the search is of this."""
    best = f"OVER (ORDER BY {alias}.score DESC, {alias}.id)"
    sure = f"power(least(first_value({alias}.share) {best} / {ENOUGH}, 1), 2)"
    return f"{sure} * power({alias}.score / first_value({alias}.score) {best}, 2)"


def _of_vector(score: str) -> str:
    """Return how strong a similarity is: its square between 0, the lowest, and 1, the highest, times the highest."""
    low, high = f"min({score}) OVER ()", f"max({score}) OVER ()"
    spread = f"CASE WHEN {high} > {low} THEN ({score} - {low}) / ({high} - {low}) ELSE {score} - {score} + 1 END"
    return f"greatest({high}, 0) * power({spread}, 2)"


def _similarity(search: Search) -> str:
    """Return how near an episode is that only the text search found, NULL without a vector of the query's space."""
    own = f"FROM convostore.episode AS t WHERE {_OWN.format('b.id')} AND t.dimensions = $7::smallint"
    model = search.numbers.get("embedding_model")
    if model is None:
        return f"(SELECT convostore.similarity(t.embedding, $2) {own})"
    beside = f"FROM convostore.episode_embedding AS t WHERE {_OWN.format('b.id')} AND t.dimensions = $7::smallint"
    return (
        f"(SELECT convostore.similarity(t.embedding, $2) {own} AND t.embedding_model = {model}::text), "
        f"(SELECT convostore.similarity(t.embedding, $2) {beside} AND t.embedding_model = {model}::text)"
    )


def _lent(search: Search, most: str) -> str:
    """SELECT what is found lends to the turns around it in its session, which are read in the order of its index.

    The filters are `(…) IS TRUE`, which no other index fits.
    """
    filters = "".join(
        f" AND ({EPISODES.filters[name].format(number)}) IS TRUE"
        for name, number in search.numbers.items()
        if name in _TYPES
    )

    def side(compared: str, order: str) -> str:
        return (
            f"(SELECT t.id, row_number() OVER (ORDER BY {order}) AS distance FROM convostore.episode AS t "
            f"WHERE {BIND_TENANT} AND t.tenant_id = $1 AND t.session_id = p.session_id "
            f"AND t.agent_id = {search.numbers['agent_id']}::uuid AND t.recorded_at {compared}= p.recorded_at "
            f"AND NOT (t.recorded_at = p.recorded_at AND t.id {compared}= s.id){filters} "
            f"ORDER BY {order} LIMIT {most}::bigint)"
        )

    return (
        "SELECT n.id, sum((s.text_part + s.vector_part) * s.recency "
        f"* power({CONTEXT_SHARE}::double precision, n.distance::double precision)) AS lent FROM scored AS s "
        "CROSS JOIN LATERAL (SELECT t.session_id, t.recorded_at FROM convostore.episode AS t "
        f"WHERE {_OWN.format('s.id')} OFFSET 0) AS p CROSS JOIN LATERAL ("
        f"{side('>', 't.recorded_at, t.id DESC')} UNION ALL {side('<', 't.recorded_at DESC, t.id')}"
        ") AS n GROUP BY n.id"
    )
