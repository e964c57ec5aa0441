-- Configuration beyond what follows from the declarations.

-- name: delete_agent
-- Delete an agent and what belongs to it softly, all marked with one write id; return whether it was there.
WITH {{bound}},
agent AS (
    UPDATE convostore.agent AS t SET deleted_at = :deleted_at, write_id = :write_id
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = :agent_id AND t.deleted_at IS NULL
    RETURNING t.id
),
found AS MATERIALIZED (SELECT EXISTS (SELECT FROM agent) AS found),
rule AS (
    UPDATE convostore.rule AS t SET deleted_at = :deleted_at, write_id = :write_id
    WHERE (TABLE bound) AND (TABLE found) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id
      AND t.deleted_at IS NULL
    RETURNING t.id
),
scenario AS (
    UPDATE convostore.scenario AS t SET deleted_at = :deleted_at, write_id = :write_id
    WHERE (TABLE bound) AND (TABLE found) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id
      AND t.deleted_at IS NULL
    RETURNING t.id
),
template AS (
    UPDATE convostore.template AS t SET deleted_at = :deleted_at, write_id = :write_id
    WHERE (TABLE bound) AND (TABLE found) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id
      AND t.deleted_at IS NULL
    RETURNING t.id
),
variable AS (
    UPDATE convostore.variable AS t SET deleted_at = :deleted_at, write_id = :write_id
    WHERE (TABLE bound) AND (TABLE found) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id
      AND t.deleted_at IS NULL
    RETURNING t.id
),
tool_activation AS (
    UPDATE convostore.tool_activation AS t SET deleted_at = :deleted_at, write_id = :write_id
    WHERE (TABLE bound) AND (TABLE found) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id
      AND t.deleted_at IS NULL
    RETURNING t.id
)
TABLE found

-- name: restore_agent
-- Bring back a deleted agent and what was deleted with it, which its write id tells; return whether there was one.
WITH {{bound}},
deleted AS MATERIALIZED (
    SELECT t.write_id
    FROM convostore.agent AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = :agent_id AND t.deleted_at IS NOT NULL
    FOR UPDATE
),
mark AS MATERIALIZED (SELECT (TABLE deleted) AS write_id),
found AS MATERIALIZED (SELECT write_id IS NOT NULL AS found FROM mark),
agent AS (
    UPDATE convostore.agent AS t SET deleted_at = NULL, write_id = :write_id
    WHERE (TABLE bound) AND (TABLE found) AND t.tenant_id = :tenant_id AND t.id = :agent_id
    RETURNING t.id
),
rule AS (
    UPDATE convostore.rule AS t SET deleted_at = NULL, write_id = :write_id
    WHERE (TABLE bound) AND (TABLE found) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id
      AND t.deleted_at IS NOT NULL AND t.write_id = (TABLE mark)
    RETURNING t.id
),
scenario AS (
    UPDATE convostore.scenario AS t SET deleted_at = NULL, write_id = :write_id
    WHERE (TABLE bound) AND (TABLE found) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id
      AND t.deleted_at IS NOT NULL AND t.write_id = (TABLE mark)
    RETURNING t.id
),
template AS (
    UPDATE convostore.template AS t SET deleted_at = NULL, write_id = :write_id
    WHERE (TABLE bound) AND (TABLE found) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id
      AND t.deleted_at IS NOT NULL AND t.write_id = (TABLE mark)
    RETURNING t.id
),
variable AS (
    UPDATE convostore.variable AS t SET deleted_at = NULL, write_id = :write_id
    WHERE (TABLE bound) AND (TABLE found) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id
      AND t.deleted_at IS NOT NULL AND t.write_id = (TABLE mark)
    RETURNING t.id
),
tool_activation AS (
    UPDATE convostore.tool_activation AS t SET deleted_at = NULL, write_id = :write_id
    WHERE (TABLE bound) AND (TABLE found) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id
      AND t.deleted_at IS NOT NULL AND t.write_id = (TABLE mark)
    RETURNING t.id
)
TABLE found

-- name: get_agent_config
-- All that an agent needs for a turn, each part a list of records; the last column only tells the driver of a type.
WITH {{bound}}
SELECT {{columns of agent}},
    ARRAY(
        SELECT ROW({{columns of rule}}) FROM convostore.rule AS t
        WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id AND t.deleted_at IS NULL
          AND t.enabled
        ORDER BY t.priority DESC, t.name, t.id
    ) AS rule,
    ARRAY(
        SELECT ROW({{columns of scenario}}) FROM convostore.scenario AS t
        WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id AND t.deleted_at IS NULL
          AND t.enabled
        ORDER BY t.name, t.id
    ) AS scenario,
    ARRAY(
        SELECT ROW({{columns of template}}) FROM convostore.template AS t
        WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id AND t.deleted_at IS NULL
        ORDER BY t.name, t.id
    ) AS template,
    ARRAY(
        SELECT ROW({{columns of variable}}) FROM convostore.variable AS t
        WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id AND t.deleted_at IS NULL
        ORDER BY t.name, t.id
    ) AS variable,
    ARRAY(
        SELECT ROW({{columns of tool_activation}}) FROM convostore.tool_activation AS t
        WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id AND t.deleted_at IS NULL
        ORDER BY t.tool_id, t.id
    ) AS tool_activation,
    NULL::uuid[] AS known
FROM convostore.agent AS t
WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = :agent_id AND t.deleted_at IS NULL
