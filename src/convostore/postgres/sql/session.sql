-- Sessions beyond what follows from the declaration. A call without a tenant first learns whose the session is.

-- name: get_session
-- The session with this id, of whichever tenant, or only of the one given.
WITH holder AS MATERIALIZED (SELECT convostore.session_tenant($1) AS tenant_id),
context AS MATERIALIZED (
    SELECT tenant_id, set_config('convostore.tenants', '{' || tenant_id || '}', true)
    FROM holder
    WHERE tenant_id = coalesce($2::uuid, tenant_id)
)
SELECT {{columns of session}}
FROM convostore.session AS t
WHERE (SELECT tenant_id FROM context) IS NOT NULL AND t.tenant_id = (SELECT tenant_id FROM context)
  AND t.session_id = $1

-- name: delete_session
-- Delete the session with this id, of whichever tenant, or only of the one given.
WITH holder AS MATERIALIZED (SELECT convostore.session_tenant($1) AS tenant_id),
context AS MATERIALIZED (
    SELECT tenant_id, set_config('convostore.tenants', '{' || tenant_id || '}', true)
    FROM holder
    WHERE tenant_id = coalesce($2::uuid, tenant_id)
)
DELETE FROM convostore.session AS t
WHERE (SELECT tenant_id FROM context) IS NOT NULL AND t.tenant_id = (SELECT tenant_id FROM context)
  AND t.session_id = $1
RETURNING t.tenant_id

-- name: session_by_channel
-- The most recently active open session of a channel identity, else the most recent closed one.
SELECT {{columns of session}}
FROM convostore.session AS t
WHERE {{gate}} AND t.tenant_id = $1 AND t.channel = $2 AND t.user_channel_id = $3
ORDER BY (t.status = 'closed'), t.last_activity_at DESC, t.session_id
LIMIT 1

-- name: sessions_at_step
-- The active sessions whose last visit was to a step, in a scope, most recently active first.
SELECT {{columns of session}}
FROM convostore.session AS t
WHERE {{gate}} AND t.tenant_id = $1 AND t.status = 'active' AND t.active_scenario_id = $2
  AND t.active_scenario_version = $3 AND (t.step_history -> -1 ->> 'step_content_hash') = $4
  AND (cardinality($5::text[]) = 0 OR t.channel = ANY ($5)) AND t.channel <> ALL ($6::text[])
  AND (cardinality($7::text[]) = 0 OR t.step_history -> -1 ->> 'step_name' = ANY ($7))
  AND coalesce(t.step_history -> -1 ->> 'step_name' <> ALL ($8::text[]), true)
  AND ($9::timestamptz IS NULL OR t.created_at >= $9) AND ($10::timestamptz IS NULL OR t.created_at <= $10)
ORDER BY t.last_activity_at DESC, t.session_id
LIMIT $11 OFFSET $12
