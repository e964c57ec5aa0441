-- Configuration beyond single tables: an agent together with the rows that it owns.

-- name: delete_agent
-- Soft-delete an agent and what it owns, all with one write id; return whether it existed.
WITH {{bound}},
agent AS (
    UPDATE convostore.agent AS t SET deleted_at = :deleted_at, write_id = :write_id
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = :agent_id AND t.deleted_at IS NULL
    RETURNING t.id
),
found AS MATERIALIZED (SELECT EXISTS (SELECT FROM agent) AS found),
{{each owned by agent}}
{{each}} AS (
    UPDATE convostore.{{each}} AS t SET deleted_at = :deleted_at, write_id = :write_id
    WHERE (TABLE bound) AND (TABLE found) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id
      AND t.deleted_at IS NULL
    RETURNING t.id
)
{{end}}
TABLE found

-- name: restore_agent
-- Restore a deleted agent and what was deleted with it, which has the same write id; return whether there was one.
WITH {{bound}},
deleted AS MATERIALIZED (
    SELECT t.write_id, t.deleted_at
    FROM convostore.agent AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = :agent_id AND t.deleted_at IS NOT NULL
),
agent AS (
    UPDATE convostore.agent AS t SET deleted_at = NULL, write_id = :write_id
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = :agent_id
      AND t.write_id = (SELECT d.write_id FROM deleted AS d)
    RETURNING t.id
),
{{each owned by agent}}
{{each}} AS (
    UPDATE convostore.{{each}} AS t SET deleted_at = NULL, write_id = :write_id
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id
      AND t.deleted_at = (SELECT d.deleted_at FROM deleted AS d) AND t.write_id = (SELECT d.write_id FROM deleted AS d)
    RETURNING t.id
)
{{end}}
SELECT EXISTS (SELECT FROM agent)

-- name: get_agent_config
-- An agent, the state of what it owns, and if that is not the known one the rows, as arrays; `ids` loads type uuid[].
WITH {{bound}},
state AS MATERIALIZED (
    SELECT concat_ws(' ',
{{each owned by agent}}
        (SELECT coalesce(sum({{version}}), 0) FROM convostore.{{each}} AS t
         WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id AND t.deleted_at IS NULL)
{{end}}
    ) AS state
),
changed AS MATERIALIZED (SELECT s.state IS DISTINCT FROM :known::text AS changed FROM state AS s)
SELECT {{columns of agent}},
{{each owned by agent}}
    CASE WHEN (TABLE changed) THEN ARRAY(
        SELECT ROW({{columns of each}}) FROM convostore.{{each}} AS t
        WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id AND t.deleted_at IS NULL
          AND {{default filters of each}}
        ORDER BY {{order of each}}
    ) END AS {{each}}
{{end}},
    (TABLE state) AS state,
    NULL::uuid[] AS ids
FROM convostore.agent AS t
WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = :agent_id AND t.deleted_at IS NULL

-- name: get_agent_state
-- An agent and the state of what it owns, for one whose rows are likely to be known; `ids` loads type uuid[].
WITH {{bound}}
SELECT {{columns of agent}},
    concat_ws(' ',
{{each owned by agent}}
        (SELECT coalesce(sum({{version}}), 0) FROM convostore.{{each}} AS t
         WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id AND t.deleted_at IS NULL)
{{end}}
    ) AS state,
    NULL::uuid[] AS ids
FROM convostore.agent AS t
WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = :agent_id AND t.deleted_at IS NULL

-- name: purge_deleted
-- Remove for good so many rows of every kind that were soft-deleted first, before a moment; return the number of each.
WITH {{bound}},
{{each soft-deleted}}
{{each}} AS (
    DELETE FROM convostore.{{each}} AS t
    USING (
        SELECT t.id FROM convostore.{{each}} AS t
        WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.deleted_at < :before
        ORDER BY t.deleted_at, t.id
        LIMIT :limit::bigint
    ) AS due
    -- IS TRUE rules out the index of all that is due.
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = due.id AND (t.deleted_at < :before) IS TRUE
    RETURNING t.tenant_id
)
{{end}}
SELECT
{{each soft-deleted}}
    (SELECT count(*) FROM {{each}}) AS {{each}}
{{end}}

-- name: agents
-- A page of agents after a cursor, by name, with the number of all; one row without an agent if the page is empty.
WITH {{bound}},
page AS (
    SELECT {{columns of agent}}
    FROM convostore.agent AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.deleted_at IS NULL
      AND (:enabled::boolean IS NULL OR t.enabled = :enabled)
      AND (:after_name::text IS NULL
           OR t.name >= :after_name AND (t.name > :after_name OR t.id > :after_id::uuid))
    ORDER BY {{order of agent}}
    LIMIT :limit::bigint OFFSET :offset::bigint
)
SELECT t.*, matching.total
FROM (
    SELECT count(*) AS total FROM convostore.agent AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.deleted_at IS NULL
      AND (:enabled::boolean IS NULL OR t.enabled = :enabled)
) AS matching
LEFT JOIN page AS t ON true
ORDER BY {{order of agent}}

-- name: search_rules
-- An agent's rules by words in a language and by meaning, with scores, as `RowConfigStore.search_rules` makes them.
WITH {{bound}},
rule AS MATERIALIZED (
    SELECT t.id, convostore.similarity(t.embedding, :embedding) AS vector,
           to_tsvector(:language::text::regconfig, coalesce(t.words, convostore.plain_words(t.condition_text))) AS words
    FROM convostore.rule AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id AND t.deleted_at IS NULL
      AND (:enabled::boolean IS NULL OR t.enabled = :enabled)
),
scope AS MATERIALIZED (
    SELECT count(*)::double precision AS rules, avg(length(rule.words))::double precision AS length FROM rule
),
term AS MATERIALIZED (
    SELECT q.query, f.found, ln(1 + (scope.rules - f.found + 0.5) / (f.found + 0.5)) AS weight
    FROM unnest(:terms::text[]) AS t (term)
    CROSS JOIN scope
    CROSS JOIN LATERAL to_tsquery(:language::text::regconfig, t.term) AS q (query)
    CROSS JOIN LATERAL (SELECT count(*)::double precision AS found FROM rule WHERE rule.words @@ q.query) AS f
),
asked AS MATERIALIZED (SELECT to_tsquery(:language::text::regconfig, :query) AS query),
scored AS MATERIALIZED (
    SELECT rule.id, rule.vector, matched.weight, CASE WHEN rule.words @@ asked.query THEN nullif(round((
            matched.weight * 1.9 / (1 + 0.9 * (0.6 + 0.4 * length(rule.words) / scope.length)))::numeric, 6), 0)::double precision
        END AS text
    FROM rule
    CROSS JOIN scope
    CROSS JOIN asked
    CROSS JOIN LATERAL (SELECT sum(term.weight) AS weight FROM term WHERE rule.words @@ term.query) AS matched
),
ends AS MATERIALIZED (
    SELECT min(vector) AS low, max(vector) AS high, max(text) AS best,
           power(least((array_agg(weight ORDER BY text DESC NULLS LAST, id))[1]
               / (SELECT sum(weight) FROM term WHERE found > 0) / 0.7, 1), 2) AS sure
    FROM scored
),
best AS (
    SELECT scored.id, round((
        0.5 * coalesce(sure * power(text / ends.best, 2), 0)
        + 0.5 * coalesce(greatest(high, 0) * power(CASE WHEN high > low THEN (vector - low) / (high - low)
            WHEN vector IS NOT NULL THEN 1 END, 2), 0))::numeric, 6)::double precision AS score
    FROM scored
    CROSS JOIN ends
    WHERE text IS NOT NULL OR vector IS NOT NULL
    ORDER BY score DESC, scored.id
    LIMIT :limit
)
SELECT {{columns of rule}}, best.score
FROM best
JOIN convostore.rule AS t ON (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = best.id
ORDER BY best.score DESC, t.id
