-- Sessions: calls by id, of a tenant that is looked up or given (see `queries`), locks, sweeps, and the generation of hot copies.

-- name: get_session
-- The session with an id.
WITH {{bound to holder}}
SELECT {{columns of session}}
FROM convostore.session AS t
WHERE (TABLE bound) AND t.tenant_id = (TABLE holder) AND t.session_id = :session_id::uuid

-- name: get_session_and_generation
-- The session with an id, as `get_session`, with the generation of its tenant's hot copies.
WITH {{bound to holder}}
SELECT {{columns of session}}, coalesce((
    SELECT e.generation FROM convostore.copy_generation AS e
    WHERE (TABLE bound) AND e.tenant_id = (TABLE holder)), 0) AS generation
FROM convostore.session AS t
WHERE (TABLE bound) AND t.tenant_id = (TABLE holder) AND t.session_id = :session_id::uuid

-- name: open_session
-- What an identity and agent name, with its open session or the one with an id, and the generation of hot copies.
WITH {{bound}}
SELECT {{columns of session}}, named.session_id AS named, coalesce((
    SELECT e.generation FROM convostore.copy_generation AS e
    WHERE (TABLE bound) AND e.tenant_id = :tenant_id), 0) AS generation
FROM (
    SELECT (
        SELECT i.session_id FROM convostore.session_identity AS i
        WHERE (TABLE bound) AND i.tenant_id = :tenant_id AND i.agent_id = :agent_id AND i.channel = :channel
          AND i.user_channel_id = :user_channel_id) AS session_id
) AS named
LEFT JOIN LATERAL (
    (SELECT s.* FROM convostore.session AS s
     WHERE (TABLE bound) AND s.tenant_id = :tenant_id AND s.session_id = :session_id)
    UNION ALL
    (SELECT s.* FROM convostore.session AS s
     WHERE (TABLE bound) AND s.tenant_id = :tenant_id AND s.agent_id = :agent_id AND s.channel = :channel
       AND s.user_channel_id = :user_channel_id AND NOT (s.status = 'closed')
     ORDER BY s.last_activity_at DESC, s.session_id LIMIT 1)
) AS t ON true
ORDER BY t.session_id = :session_id DESC
LIMIT 1

-- name: claim_identity
-- Let an identity and agent name a session, if they name the one that was read, or none as then.
INSERT INTO convostore.session_identity AS t (tenant_id, agent_id, channel, user_channel_id, session_id)
SELECT :tenant_id::uuid, :agent_id::uuid, :channel::text, :user_channel_id::text, :session_id::uuid WHERE {{bind_tenant}}
ON CONFLICT (tenant_id, agent_id, channel, user_channel_id) DO UPDATE SET session_id = excluded.session_id
WHERE t.session_id = :named::uuid
RETURNING t.tenant_id

-- name: tenant_of_session
-- The tenant that holds the session with this id.
SELECT convostore.session_tenant(:session_id)

-- name: generation_of_copies
-- The generation of a tenant's hot copies; copies of earlier generations are invalid.
SELECT e.generation FROM convostore.copy_generation AS e WHERE {{bind_tenant}} AND e.tenant_id = :tenant_id

-- name: invalidate_copies
-- Increment the generation of a tenant's hot copies.
INSERT INTO convostore.copy_generation AS e (tenant_id, generation) SELECT :tenant_id::uuid, 1 WHERE {{bind_tenant}}
ON CONFLICT (tenant_id) DO UPDATE SET generation = e.generation + 1
RETURNING e.generation

-- name: delete_session
-- Delete the session with an id, as `get_session`; on request increment the generation of hot copies.
WITH {{bound to holder}},
deleted AS (
    DELETE FROM convostore.session AS t
    WHERE (TABLE bound) AND t.tenant_id = (TABLE holder) AND t.session_id = :session_id
    RETURNING t.tenant_id, convostore.in_time(:deadline::timestamptz)
),
invalidated AS (
    INSERT INTO convostore.copy_generation AS e (tenant_id, generation)
    SELECT deleted.tenant_id, 1 FROM deleted WHERE (TABLE bound) AND :invalidate_copies::boolean
    ON CONFLICT (tenant_id) DO UPDATE SET generation = e.generation + 1
)
SELECT tenant_id FROM deleted

-- name: acquire_lock
-- Acquire a session's lock; the token is NULL if another owner holds it, and there is no row if there is no session.
WITH {{bound to holder}},
acquired AS (
    UPDATE convostore.session AS t
    -- STABLE functions outside of CASE and COALESCE, for Citus. Who has waited for the row's lock finds locks that have expired
    -- meanwhile held, and asks again.
    SET fence = coalesce(t.fence, 0)
            + (t.lock_owner IS DISTINCT FROM :owner OR t.locked_until <= statement_timestamp())::integer,
        lock_owner = :owner::uuid, locked_until = statement_timestamp() + :ttl::interval
    WHERE (TABLE bound) AND t.tenant_id = (TABLE holder) AND t.session_id = :session_id
      AND (t.lock_owner IS NULL OR t.lock_owner = :owner OR t.locked_until <= statement_timestamp())
    RETURNING t.fence
)
SELECT (SELECT fence FROM acquired) AS token
FROM convostore.session AS t
WHERE (TABLE bound) AND t.tenant_id = (TABLE holder) AND t.session_id = :session_id

-- name: release_lock
-- Release a session's lock if this owner holds it.
WITH {{bound to holder}}
UPDATE convostore.session AS t SET lock_owner = NULL, locked_until = NULL
WHERE (TABLE bound) AND t.tenant_id = (TABLE holder) AND t.session_id = :session_id
  AND t.lock_owner = :owner AND t.locked_until > statement_timestamp()
RETURNING t.tenant_id

-- name: old_sessions
-- The oldest sessions whose last activity was before a moment, up to a limit, grouped by tenant.
SELECT tenant_id, session_ids FROM convostore.old_sessions(:before, :limit)

-- name: delete_old_sessions
-- Delete a tenant's sessions with these ids and an old last activity, skipping rows that another transaction locks.
DELETE FROM convostore.session AS t
WHERE {{bind_tenant}} AND t.tenant_id = :tenant_id AND t.session_id = ANY (ARRAY(
    SELECT s.session_id
    FROM convostore.session AS s
    WHERE {{bind_tenant}} AND s.tenant_id = :tenant_id AND s.session_id = ANY (:session_ids::uuid[])
      AND s.last_activity_at < :before
    FOR UPDATE SKIP LOCKED))
RETURNING t.tenant_id, t.session_id

-- name: session_by_channel
-- The most recently active open session of a channel identity, of any agent or one, else the most recent closed one.
SELECT {{columns of session}}
FROM convostore.session AS t
WHERE {{bind_tenant}} AND t.tenant_id = :tenant_id AND t.channel = :channel AND t.user_channel_id = :user_channel_id
  AND (:agent_id::uuid IS NULL OR t.agent_id = :agent_id)
ORDER BY (t.status = 'closed'), t.last_activity_at DESC, t.session_id
LIMIT 1

-- name: sessions_at_step
-- The active sessions whose current step has a content hash, within a scope, after a cursor, most recently active first.
SELECT {{columns of session}}
FROM convostore.session AS t
WHERE {{bind_tenant}} AND t.tenant_id = :tenant_id AND t.status = 'active' AND t.active_scenario_id = :scenario_id
  AND t.active_scenario_version = :scenario_version AND t.step_content_hash = :step_content_hash
  AND (cardinality(:include_channels::text[]) = 0 OR t.channel = ANY (:include_channels))
  AND t.channel <> ALL (:exclude_channels::text[])
  AND (cardinality(:include_steps::text[]) = 0 OR t.step_history -> -1 ->> 'step_name' = ANY (:include_steps))
  AND coalesce(t.step_history -> -1 ->> 'step_name' <> ALL (:exclude_steps::text[]), true)
  AND (:created_since::timestamptz IS NULL OR t.created_at >= :created_since)
  AND (:created_until::timestamptz IS NULL OR t.created_at <= :created_until)
  AND t.last_activity_at <= (SELECT coalesce(:after_activity::timestamptz, 'infinity'))
  AND (t.last_activity_at < coalesce(:after_activity, 'infinity') OR t.session_id > :after_session::uuid)
ORDER BY t.last_activity_at DESC, t.session_id
LIMIT :limit OFFSET :offset
