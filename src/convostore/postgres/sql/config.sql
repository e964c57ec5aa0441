-- Configuration beyond what follows from the declarations.

-- name: delete_agent
-- Delete an agent and what belongs to it softly, all marked with one write id; return whether it was there.
WITH agent AS (
    UPDATE convostore.agent AS t SET deleted_at = $3, write_id = $4
    WHERE {{bind_tenant}} AND t.tenant_id = $1 AND t.id = $2 AND t.deleted_at IS NULL
    RETURNING t.id
),
found AS MATERIALIZED (SELECT EXISTS (SELECT FROM agent) AS found),
rule AS (
    UPDATE convostore.rule AS t SET deleted_at = $3, write_id = $4
    WHERE (SELECT found FROM found) AND t.tenant_id = $1 AND t.agent_id = $2 AND t.deleted_at IS NULL
    RETURNING t.id
),
scenario AS (
    UPDATE convostore.scenario AS t SET deleted_at = $3, write_id = $4
    WHERE (SELECT found FROM found) AND t.tenant_id = $1 AND t.agent_id = $2 AND t.deleted_at IS NULL
    RETURNING t.id
),
template AS (
    UPDATE convostore.template AS t SET deleted_at = $3, write_id = $4
    WHERE (SELECT found FROM found) AND t.tenant_id = $1 AND t.agent_id = $2 AND t.deleted_at IS NULL
    RETURNING t.id
),
variable AS (
    UPDATE convostore.variable AS t SET deleted_at = $3, write_id = $4
    WHERE (SELECT found FROM found) AND t.tenant_id = $1 AND t.agent_id = $2 AND t.deleted_at IS NULL
    RETURNING t.id
),
tool_activation AS (
    UPDATE convostore.tool_activation AS t SET deleted_at = $3, write_id = $4
    WHERE (SELECT found FROM found) AND t.tenant_id = $1 AND t.agent_id = $2 AND t.deleted_at IS NULL
    RETURNING t.id
)
SELECT found FROM found

-- name: restore_agent
-- Bring back a deleted agent and what was deleted with it, which its write id tells; return whether there was one.
WITH deleted AS MATERIALIZED (
    SELECT t.write_id
    FROM convostore.agent AS t
    WHERE {{bind_tenant}} AND t.tenant_id = $1 AND t.id = $2 AND t.deleted_at IS NOT NULL
    FOR UPDATE
),
with_id AS MATERIALIZED (SELECT (SELECT write_id FROM deleted) AS write_id),
agent AS (
    UPDATE convostore.agent AS t SET deleted_at = NULL, write_id = $3
    WHERE (SELECT write_id IS NOT NULL FROM with_id) AND t.tenant_id = $1 AND t.id = $2
    RETURNING t.id
),
rule AS (
    UPDATE convostore.rule AS t SET deleted_at = NULL, write_id = $3
    WHERE (SELECT write_id IS NOT NULL FROM with_id) AND t.tenant_id = $1 AND t.agent_id = $2
      AND t.deleted_at IS NOT NULL AND t.write_id = (SELECT write_id FROM with_id)
    RETURNING t.id
),
scenario AS (
    UPDATE convostore.scenario AS t SET deleted_at = NULL, write_id = $3
    WHERE (SELECT write_id IS NOT NULL FROM with_id) AND t.tenant_id = $1 AND t.agent_id = $2
      AND t.deleted_at IS NOT NULL AND t.write_id = (SELECT write_id FROM with_id)
    RETURNING t.id
),
template AS (
    UPDATE convostore.template AS t SET deleted_at = NULL, write_id = $3
    WHERE (SELECT write_id IS NOT NULL FROM with_id) AND t.tenant_id = $1 AND t.agent_id = $2
      AND t.deleted_at IS NOT NULL AND t.write_id = (SELECT write_id FROM with_id)
    RETURNING t.id
),
variable AS (
    UPDATE convostore.variable AS t SET deleted_at = NULL, write_id = $3
    WHERE (SELECT write_id IS NOT NULL FROM with_id) AND t.tenant_id = $1 AND t.agent_id = $2
      AND t.deleted_at IS NOT NULL AND t.write_id = (SELECT write_id FROM with_id)
    RETURNING t.id
),
tool_activation AS (
    UPDATE convostore.tool_activation AS t SET deleted_at = NULL, write_id = $3
    WHERE (SELECT write_id IS NOT NULL FROM with_id) AND t.tenant_id = $1 AND t.agent_id = $2
      AND t.deleted_at IS NOT NULL AND t.write_id = (SELECT write_id FROM with_id)
    RETURNING t.id
)
SELECT write_id IS NOT NULL FROM with_id

-- name: get_agent_config
-- All that an agent needs for a turn, each part a list of records; the last column only tells the driver of a type.
WITH context AS MATERIALIZED (SELECT {{bind_tenant}} AS ready)
SELECT {{columns of agent}},
    ARRAY(
        SELECT ROW({{columns of rule}}) FROM convostore.rule AS t
        WHERE (SELECT ready FROM context) AND t.tenant_id = $1 AND t.agent_id = $2 AND t.deleted_at IS NULL AND t.enabled
        ORDER BY t.priority DESC, t.name, t.id
    ) AS rule,
    ARRAY(
        SELECT ROW({{columns of scenario}}) FROM convostore.scenario AS t
        WHERE (SELECT ready FROM context) AND t.tenant_id = $1 AND t.agent_id = $2 AND t.deleted_at IS NULL AND t.enabled
        ORDER BY t.name, t.id
    ) AS scenario,
    ARRAY(
        SELECT ROW({{columns of template}}) FROM convostore.template AS t
        WHERE (SELECT ready FROM context) AND t.tenant_id = $1 AND t.agent_id = $2 AND t.deleted_at IS NULL
        ORDER BY t.name, t.id
    ) AS template,
    ARRAY(
        SELECT ROW({{columns of variable}}) FROM convostore.variable AS t
        WHERE (SELECT ready FROM context) AND t.tenant_id = $1 AND t.agent_id = $2 AND t.deleted_at IS NULL
        ORDER BY t.name, t.id
    ) AS variable,
    ARRAY(
        SELECT ROW({{columns of tool_activation}}) FROM convostore.tool_activation AS t
        WHERE (SELECT ready FROM context) AND t.tenant_id = $1 AND t.agent_id = $2 AND t.deleted_at IS NULL
        ORDER BY t.tool_id, t.id
    ) AS tool_activation,
    NULL::uuid[] AS known
FROM convostore.agent AS t
WHERE (SELECT ready FROM context) AND t.tenant_id = $1 AND t.id = $2 AND t.deleted_at IS NULL
