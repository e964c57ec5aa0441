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
    SELECT t.write_id
    FROM convostore.agent AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = :agent_id AND t.deleted_at IS NOT NULL
),
agent AS (
    UPDATE convostore.agent AS t SET deleted_at = NULL, write_id = :write_id
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = :agent_id AND t.write_id = (TABLE deleted)
    RETURNING t.id
),
{{each owned by agent}}
{{each}} AS (
    UPDATE convostore.{{each}} AS t SET deleted_at = NULL, write_id = :write_id
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.write_id = (TABLE deleted)
    RETURNING t.id
)
{{end}}
SELECT EXISTS (SELECT FROM agent)

-- name: get_agent_config
-- An agent, the state of what it owns, and if that is not the known one the rows, as arrays; `ids` loads type uuid[].
WITH {{bound}},
state AS MATERIALIZED (
    -- Every write of the stores gives a row another write id, and every write at all another xmin.
    SELECT concat_ws(' ',
{{each owned by agent}}
        (SELECT coalesce(sum(uuid_hash_extended(
            t.id, uuid_hash_extended(coalesce(t.write_id, t.id), t.xmin::text::bigint))), 0)
         FROM convostore.{{each}} AS t
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

-- name: purge_deleted
-- Remove what was soft-deleted before a moment for good, of every kind; return the number of rows of each.
WITH {{bound}},
{{each soft-deleted}}
{{each}} AS (
    DELETE FROM convostore.{{each}} AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.deleted_at < :before
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
