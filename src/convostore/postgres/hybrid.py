"""Hybrid search: what a vector search and a text search find, fused by scores in one statement."""

from __future__ import annotations

from convostore.domain.declarations import EPISODE
from convostore.domain.scoring import SCORE_DECIMALS
from convostore.gateway.memory import Filter
from convostore.postgres.mapping import quoted
from convostore.postgres.tenancy import BIND_TENANT
from convostore.postgres.vectors import Search

_COLUMNS = ", ".join(f"t.{quoted(name)}" for name in EPISODE.columns)
_TYPES = dict(
    zip(Filter._fields, ("uuid", "uuid", "uuid", "text", "timestamptz", "timestamptz", "timestamptz"), strict=True)
)
_OWN = f"t.tenant_id = $1 AND t.id = {{}} AND {BIND_TENANT}"


def fused(search: Search) -> str:
    """Return the statement that fuses a vector search with a text search of the same filters and limit.

    As `domain.fusion.fused` does. Parameters: those of the vector search, then query, terms and language of the text
    search, the share of words in the score, half-life and moment, limit and offset.
    """
    query, terms, language, share, half_life, at, limit, offset = (
        f"${len(search.arguments) + number}" for number in range(1, 9)
    )
    filters = ", ".join(f"{search.numbers.get(name, 'NULL')}::{kind}" for name, kind in _TYPES.items())
    counted, large = (
        (", s.large", ", (SELECT bool_or(n.large) FROM near AS n) AS large") if search.counted else ("", "")
    )
    text, vector = _spread("b.text"), _spread("b.vector")
    return (
        f"WITH near AS MATERIALIZED (SELECT s.id, s.score{counted} FROM ({search.statement}) AS s), "
        "matching AS MATERIALIZED (SELECT m.id, m.score "
        f"FROM convostore.scored_episodes($1, {search.numbers['agent_id']}, {query}::text, {terms}::text[], false, "
        f"{language}::text, {filters}, $3::bigint) AS m WHERE {BIND_TENANT}), "
        "candidate AS MATERIALIZED (SELECT id, m.score AS text, n.score AS vector "
        "FROM matching AS m FULL JOIN near AS n USING (id)), "
        "found AS MATERIALIZED (SELECT b.id, "
        f"CASE WHEN {half_life}::interval IS NULL THEN 1 ELSE (SELECT {_recency(half_life, at)} "
        f"FROM convostore.episode AS t WHERE {_OWN.format('b.id')}) END AS recency, "
        " CASE WHEN EXISTS (TABLE matching) THEN coalesce(b.text, 0) END AS text, "
        f"coalesce(b.vector, {_similarity(search)}) AS vector FROM candidate AS b), "
        f"best AS (SELECT b.id, round(((coalesce({share}::double precision * {text}, 0) "
        f"+ coalesce((1 - {share}) * {vector}, 0)) * b.recency)::numeric, {SCORE_DECIMALS})::double precision AS score "
        f"FROM found AS b ORDER BY score DESC, b.id LIMIT {limit}::bigint OFFSET {offset}::bigint) "
        f"SELECT {_COLUMNS}, best.score{large} FROM best JOIN convostore.episode AS t ON {_OWN.format('best.id')} "
        "ORDER BY best.score DESC, t.id"
    )


def _recency(half_life: str, at: str) -> str:
    """Return what a score is worth at a moment: half for every half-life of age."""
    age = f"greatest(extract(epoch FROM {at}::timestamptz - t.occurred_at), 0)"
    return f"power(0.5::double precision, ({age} / extract(epoch FROM {half_life}::interval))::double precision)"


def _spread(score: str) -> str:
    """Return a score between 0, the lowest of all, and 1, the highest; 1 if they are equal, NULL without a score."""
    low, high = f"min({score}) OVER ()", f"max({score}) OVER ()"
    return f"CASE WHEN {high} > {low} THEN ({score} - {low}) / ({high} - {low}) ELSE {score} - {score} + 1 END"


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
