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

-- name: get_session_and_generation
-- The session with this id, of whichever tenant, with the generation of that tenant's hot copies.
WITH holder AS MATERIALIZED (SELECT convostore.session_tenant($1) AS tenant_id),
context AS MATERIALIZED (
    SELECT tenant_id, set_config('convostore.tenants', '{' || tenant_id || '}', true)
    FROM holder
    WHERE tenant_id = coalesce($2::uuid, tenant_id)
)
SELECT {{columns of session}}, coalesce(
    (SELECT e.generation FROM convostore.copy_generation AS e WHERE e.tenant_id = (SELECT tenant_id FROM context)), 0
) AS generation
FROM convostore.session AS t
WHERE (SELECT tenant_id FROM context) IS NOT NULL AND t.tenant_id = (SELECT tenant_id FROM context)
  AND t.session_id = $1

-- name: generation_of_copies
-- The generation of a tenant's hot copies; those of an earlier one are not believed.
SELECT e.generation FROM convostore.copy_generation AS e WHERE {{bind_tenant}} AND e.tenant_id = $1

-- name: invalidate_copies
-- Begin the next generation of a tenant's hot copies.
INSERT INTO convostore.copy_generation AS e (tenant_id, generation) SELECT $1::uuid, 1 WHERE {{bind_tenant}}
ON CONFLICT (tenant_id) DO UPDATE SET generation = e.generation + 1
RETURNING e.generation

-- name: delete_session
-- Delete the session with this id, of whichever tenant, or only of the one given; on request begin the next generation.
WITH holder AS MATERIALIZED (SELECT convostore.session_tenant($1) AS tenant_id),
context AS MATERIALIZED (
    SELECT tenant_id, set_config('convostore.tenants', '{' || tenant_id || '}', true)
    FROM holder
    WHERE tenant_id = coalesce($2::uuid, tenant_id)
),
invalidated AS (
    INSERT INTO convostore.copy_generation AS e (tenant_id, generation) SELECT tenant_id, 1 FROM context WHERE $3::boolean
    ON CONFLICT (tenant_id) DO UPDATE SET generation = e.generation + 1
)
DELETE FROM convostore.session AS t
WHERE (SELECT tenant_id FROM context) IS NOT NULL AND t.tenant_id = (SELECT tenant_id FROM context)
  AND t.session_id = $1
RETURNING t.tenant_id

-- name: acquire_lock
-- Give the lock of a session to an owner unless another has it; the token is NULL while that is so, no row if no session.
WITH holder AS MATERIALIZED (SELECT convostore.session_tenant($1) AS tenant_id),
context AS MATERIALIZED (
    SELECT tenant_id, set_config('convostore.tenants', '{' || tenant_id || '}', true)
    FROM holder
    WHERE tenant_id = coalesce($2::uuid, tenant_id)
),
given AS (
    UPDATE convostore.session AS t
    SET fence = coalesce(t.fence, 0)
            + CASE WHEN t.lock_owner = $3 AND t.locked_until > clock_timestamp() THEN 0 ELSE 1 END,
        lock_owner = $3::uuid, locked_until = clock_timestamp() + $4::interval
    WHERE (SELECT tenant_id FROM context) IS NOT NULL AND t.tenant_id = (SELECT tenant_id FROM context)
      AND t.session_id = $1
      AND (t.lock_owner IS NULL OR t.lock_owner = $3 OR t.locked_until <= clock_timestamp())
    RETURNING t.fence
)
SELECT (SELECT fence FROM given) AS token FROM context

-- name: release_lock
-- Free the lock of a session if this owner has it.
WITH holder AS MATERIALIZED (SELECT convostore.session_tenant($1) AS tenant_id),
context AS MATERIALIZED (
    SELECT tenant_id, set_config('convostore.tenants', '{' || tenant_id || '}', true)
    FROM holder
    WHERE tenant_id = coalesce($2::uuid, tenant_id)
)
UPDATE convostore.session AS t SET lock_owner = NULL, locked_until = NULL
WHERE (SELECT tenant_id FROM context) IS NOT NULL AND t.tenant_id = (SELECT tenant_id FROM context)
  AND t.session_id = $1 AND t.lock_owner = $3 AND t.locked_until > clock_timestamp()
RETURNING t.tenant_id

-- name: sweep_sessions
-- Delete sessions of any tenant whose last activity was before a moment, up to a limit; others may sweep at once.
WITH tenant AS MATERIALIZED (SELECT convostore.tenants_with_old_sessions($1) AS id),
context AS MATERIALIZED (
    SELECT set_config('convostore.tenants', array_agg(id)::text, true) IS NOT NULL AS ready FROM tenant
),
old AS MATERIALIZED (
    SELECT t.tenant_id, t.session_id
    FROM convostore.session AS t
    WHERE (SELECT ready FROM context) AND t.tenant_id = ANY (ARRAY(SELECT id FROM tenant)) AND t.last_activity_at < $1
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
DELETE FROM convostore.session AS t
WHERE (SELECT ready FROM context) AND t.tenant_id = ANY (ARRAY(SELECT id FROM tenant))
  AND (t.tenant_id, t.session_id) IN (SELECT tenant_id, session_id FROM old)
RETURNING t.tenant_id, t.session_id

-- name: session_by_channel
-- The most recently active open session of a channel identity, else the most recent closed one.
SELECT {{columns of session}}
FROM convostore.session AS t
WHERE {{bind_tenant}} AND t.tenant_id = $1 AND t.channel = $2 AND t.user_channel_id = $3
ORDER BY (t.status = 'closed'), t.last_activity_at DESC, t.session_id
LIMIT 1

-- name: sessions_at_step
-- The active sessions whose last visit was to a step, in a scope, most recently active first.
SELECT {{columns of session}}
FROM convostore.session AS t
WHERE {{bind_tenant}} AND t.tenant_id = $1 AND t.status = 'active' AND t.active_scenario_id = $2
  AND t.active_scenario_version = $3 AND t.step_content_hash = $4
  AND (cardinality($5::text[]) = 0 OR t.channel = ANY ($5)) AND t.channel <> ALL ($6::text[])
  AND (cardinality($7::text[]) = 0 OR t.step_history -> -1 ->> 'step_name' = ANY ($7))
  AND coalesce(t.step_history -> -1 ->> 'step_name' <> ALL ($8::text[]), true)
  AND ($9::timestamptz IS NULL OR t.created_at >= $9) AND ($10::timestamptz IS NULL OR t.created_at <= $10)
ORDER BY t.last_activity_at DESC, t.session_id
LIMIT $11 OFFSET $12
