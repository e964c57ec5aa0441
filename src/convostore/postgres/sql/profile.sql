-- Customer profiles: read as rows with their items as JSON, written as rows populated from JSON.

-- name: profile_by_id
-- The profile with this very id, also a deleted or merged one.
WITH {{bound}}
SELECT {{profile}}
FROM convostore.profile AS p
WHERE (TABLE bound) AND p.tenant_id = :tenant_id AND p.id = :profile_id::uuid

-- name: profiles_by_id
-- The profiles with these ids, also deleted ones; of superseded items only those with these ids.
WITH {{bound}}
SELECT {{profile}}, p.write_id, {{past items}}
FROM convostore.profile AS p
WHERE (TABLE bound) AND p.tenant_id = :tenant_id AND p.id = ANY (:profile_ids::uuid[])
-- name: final_profile
-- The profile at the end of the chain of merges from an id or a customer id, also a deleted one.
WITH RECURSIVE {{bound}},
chain AS (
    SELECT p.tenant_id, p.id, p.merged_into
    FROM convostore.profile AS p
    WHERE (TABLE bound) AND p.tenant_id = :tenant_id AND p.id = :profile_id
    UNION ALL
    SELECT p.tenant_id, p.id, p.merged_into
    FROM convostore.profile AS p
    WHERE (TABLE bound) AND p.tenant_id = :tenant_id AND p.customer_id = :customer_id
      AND (p.deleted_at IS NULL OR p.merged_into IS NOT NULL)
    UNION ALL
    SELECT p.tenant_id, p.id, p.merged_into
    FROM chain JOIN convostore.profile AS p ON p.tenant_id = :tenant_id AND p.id = chain.merged_into
    WHERE (TABLE bound) AND chain.tenant_id = :tenant_id
)
SELECT {{profile}}, {{past items}}
FROM chain JOIN convostore.profile AS p ON p.tenant_id = :tenant_id AND p.id = chain.id
WHERE (TABLE bound) AND chain.tenant_id = :tenant_id AND chain.merged_into IS NULL

-- name: linked_profile
-- The profile with a channel identity that is not deleted.
WITH {{bound}}
SELECT {{profile}}
FROM convostore.channel_identity AS c
JOIN convostore.profile AS p ON p.tenant_id = :tenant_id AND p.id = c.profile_id
WHERE (TABLE bound) AND c.tenant_id = :tenant_id AND c.channel = :channel AND c.channel_user_id = :channel_user_id
  AND c.living

-- name: profile_by_id_or_identity
-- The profile with this very id, also a deleted or merged one, or without an id the one that has a channel identity.
WITH {{bound}}
SELECT {{profile}}
FROM convostore.profile AS p
WHERE (TABLE bound) AND p.tenant_id = :tenant_id AND p.id = (SELECT coalesce(:profile_id::uuid, (
    SELECT c.profile_id FROM convostore.channel_identity AS c
    WHERE (TABLE bound) AND c.tenant_id = :tenant_id AND c.channel = :channel::text
      AND c.channel_user_id = :channel_user_id::text AND c.living)))

-- name: list_profiles
-- A page of a tenant's profiles that are not deleted, newest first.
WITH {{bound}},
page AS (
    SELECT p.*
    FROM convostore.profile AS p
    WHERE (TABLE bound) AND p.tenant_id = :tenant_id AND p.deleted_at IS NULL
      AND (:verification_level::text IS NULL OR p.verification_level = :verification_level)
      AND p.created_at <= (SELECT coalesce(:after_created_at::timestamptz, 'infinity'))
      AND (p.created_at < coalesce(:after_created_at::timestamptz, 'infinity') OR p.id > :after_id::uuid)
    ORDER BY p.created_at DESC, p.id
    LIMIT :limit OFFSET :offset
)
SELECT {{profile}}
FROM page AS p
ORDER BY p.created_at DESC, p.id

-- name: profiles_by_field
-- The profiles whose active field of a name has a value, newest first.
WITH {{bound}},
page AS (
    SELECT p.*
    FROM convostore.profiles_with_field(:tenant_id, :name, :value::json::jsonb) AS m (id)
    -- OFFSET 0 forces index lookups: the planner cannot estimate the function and would hash all of the tenant's.
    CROSS JOIN LATERAL (
        SELECT p.* FROM convostore.profile AS p
        WHERE (TABLE bound) AND p.tenant_id = :tenant_id AND p.id = m.id AND p.deleted_at IS NULL
        OFFSET 0
    ) AS p
    WHERE (TABLE bound)
    ORDER BY p.created_at DESC, p.id
    LIMIT :limit OFFSET :offset
)
SELECT {{profile}}
FROM page AS p
ORDER BY p.created_at DESC, p.id

-- name: newest_merge
-- The newest merge into a profile, as stored for undoing it.
SELECT g.tenant_id, g.document
FROM convostore.profile_merge AS g
WHERE {{bind_tenant}} AND g.tenant_id = :tenant_id AND g.target_id = :profile_id
ORDER BY g.revision DESC
LIMIT 1

-- name: expire_fields
-- Expire so many active fields whose `expires_at` passed first, of profiles that are not deleted; return their number.
WITH {{bound}},
expiring AS MATERIALIZED (
    SELECT f.tenant_id, f.id, f.profile_id
    FROM convostore.profile_field AS f
    -- OFFSET 0 looks profiles up one by one, in the order of the index on times.
    CROSS JOIN LATERAL (
        SELECT FROM convostore.profile AS p
        WHERE (TABLE bound) AND p.tenant_id = :tenant_id AND p.id = f.profile_id AND p.deleted_at IS NULL
        OFFSET 0
    ) AS living
    WHERE (TABLE bound) AND f.tenant_id = :tenant_id AND f.status = 'active' AND f.expires_at <= :at
    ORDER BY f.expires_at, f.id
    LIMIT :limit::bigint
),
locked AS MATERIALIZED (
    SELECT e.*
    FROM expiring AS e JOIN convostore.profile AS p ON p.tenant_id = :tenant_id AND p.id = e.profile_id
    WHERE (TABLE bound) AND e.tenant_id = :tenant_id AND p.deleted_at IS NULL
    ORDER BY p.id
    FOR UPDATE OF p
),
expired AS (
    UPDATE convostore.profile_field AS f SET status = 'expired'
    FROM locked AS e
    WHERE (TABLE bound) AND f.tenant_id = :tenant_id AND e.tenant_id = :tenant_id AND f.id = e.id
      AND f.profile_id = e.profile_id AND f.status = 'active' AND f.expires_at <= :at
    RETURNING f.tenant_id, f.profile_id
),
touched AS (
    UPDATE convostore.profile AS p SET revision = p.revision + 1, updated_at = :updated_at, write_id = :write_id
    FROM (SELECT DISTINCT e.profile_id AS id FROM expired AS e WHERE e.tenant_id = :tenant_id) AS e
    WHERE (TABLE bound) AND p.tenant_id = :tenant_id AND p.id = e.id
    RETURNING p.id
)
SELECT count(*) FROM expired

-- name: purge_profiles
-- Delete so many profiles soft-deleted first, before a moment, and those merged into them, with their children.
WITH RECURSIVE {{bound}},
purged AS (
    (SELECT p.tenant_id, p.id
     FROM convostore.profile AS p
     WHERE (TABLE bound) AND p.tenant_id = :tenant_id AND p.deleted_at < :before AND p.merged_into IS NULL
     ORDER BY p.deleted_at, p.id
     LIMIT :limit::bigint)
    UNION ALL
    SELECT source.tenant_id, source.id
    FROM purged
    -- OFFSET 0 keeps the planner, which expects many, from reading all profiles once instead.
    CROSS JOIN LATERAL (
        SELECT p.tenant_id, p.id FROM convostore.profile AS p
        WHERE (TABLE bound) AND p.tenant_id = :tenant_id AND p.merged_into = purged.id
        OFFSET 0
    ) AS source
)
DELETE FROM convostore.profile AS p
WHERE (TABLE bound) AND p.tenant_id = :tenant_id AND p.id = ANY (ARRAY(SELECT purged.id FROM purged))
RETURNING p.tenant_id, p.id

-- name: set_new_field
-- Set a new field on a living profile, superseding the active one of its name, or nothing; return its id.
WITH {{bound}},
touched AS (
    UPDATE convostore.profile AS p
    SET revision = p.revision + 1 + :further::bigint, updated_at = :changed_at, write_id = :write_id
    WHERE (TABLE bound) AND p.tenant_id = :tenant_id AND p.id = :profile_id AND p.deleted_at IS NULL
      -- Beside a concurrent change the row has a newer revision than this statement's snapshot, in which fields are read.
      AND p.revision = (
          SELECT s.revision FROM convostore.profile AS s
          WHERE (TABLE bound) AND s.tenant_id = :tenant_id AND s.id = :profile_id)
      AND NOT EXISTS (
          SELECT FROM convostore.profile_field AS f
          WHERE (TABLE bound) AND f.tenant_id = :tenant_id AND f.id = :id)
    RETURNING p.id
),
superseded AS (
    UPDATE convostore.profile_field AS f
    SET status = 'superseded', superseded_by_id = :id, superseded_at = :changed_at
    WHERE (TABLE bound) AND f.tenant_id = :tenant_id AND f.profile_id = (SELECT t.id FROM touched AS t)
      AND f.name = :name AND f.status = 'active' AND :status = 'active'
    RETURNING f.id
)
INSERT INTO convostore.profile_field AS f (
    tenant_id, profile_id, id, name, value, value_type, source, source_session_id, source_scenario_id, source_step_id,
    source_item_id, source_metadata, status, superseded_by_id, superseded_at, verified, verification_method,
    verified_at, verified_by, confidence, requires_confirmation, collected_at, updated_at, expires_at
)
SELECT
    :tenant_id, t.id, :id, :name, :value, :value_type, :source, :source_session_id, :source_scenario_id,
    :source_step_id, :source_item_id, :source_metadata, :status, :superseded_by_id, :superseded_at, :verified,
    :verification_method, :verified_at, :verified_by, :confidence, :requires_confirmation, :collected_at, :updated_at,
    :expires_at
FROM touched AS t
-- The index of active fields takes the new one once the old one is superseded.
WHERE (TABLE bound) AND (SELECT count(*) FROM superseded) >= 0
RETURNING f.id

-- name: set_new_fields
-- The same for several fields of different names, all or none; return their ids.
WITH {{bound}},
new_field AS MATERIALIZED (SELECT * FROM json_populate_recordset(NULL::convostore.profile_field, :fields::json)),
touched AS (
    UPDATE convostore.profile AS p
    SET revision = p.revision + (SELECT count(*) FROM new_field) + :further::bigint, updated_at = :changed_at,
        write_id = :write_id
    WHERE (TABLE bound) AND p.tenant_id = :tenant_id AND p.id = :profile_id AND p.deleted_at IS NULL
      -- Beside a concurrent change the row has a newer revision than this statement's snapshot, in which fields are read.
      AND p.revision = (
          SELECT s.revision FROM convostore.profile AS s
          WHERE (TABLE bound) AND s.tenant_id = :tenant_id AND s.id = :profile_id)
      AND NOT EXISTS (
          SELECT FROM convostore.profile_field AS f
          WHERE (TABLE bound) AND f.tenant_id = :tenant_id AND f.id = ANY (ARRAY(SELECT n.id FROM new_field AS n)))
    RETURNING p.id
),
superseded AS (
    UPDATE convostore.profile_field AS f
    SET status = 'superseded', superseded_by_id = n.id, superseded_at = :changed_at
    FROM new_field AS n
    WHERE (TABLE bound) AND f.tenant_id = :tenant_id AND f.profile_id = (SELECT t.id FROM touched AS t)
      AND f.name = n.name AND f.status = 'active' AND n.status = 'active'
    RETURNING f.id
)
INSERT INTO convostore.profile_field AS f (
    tenant_id, profile_id, id, name, value, value_type, source, source_session_id, source_scenario_id, source_step_id,
    source_item_id, source_metadata, status, superseded_by_id, superseded_at, verified, verification_method,
    verified_at, verified_by, confidence, requires_confirmation, collected_at, updated_at, expires_at
)
SELECT
    :tenant_id, t.id, n.id, n.name, n.value, n.value_type, n.source, n.source_session_id, n.source_scenario_id,
    n.source_step_id, n.source_item_id, n.source_metadata, n.status, n.superseded_by_id, n.superseded_at, n.verified,
    n.verification_method, n.verified_at, n.verified_by, n.confidence, n.requires_confirmation, n.collected_at,
    n.updated_at, n.expires_at
FROM touched AS t CROSS JOIN new_field AS n
-- The index of active fields takes the new one once the old one is superseded.
WHERE (TABLE bound) AND (SELECT count(*) FROM superseded) >= 0
RETURNING f.id

-- name: add_new_assets
-- Add new assets to a profile that was locked, behind its active ones, or none if there is no profile; return their ids.
INSERT INTO convostore.profile_asset AS a (
    tenant_id, id, profile_id, position, name, asset_type, storage_provider, storage_path, mime_type, size_bytes,
    checksum, uploaded_at, uploaded_in_session_id, uploaded_in_scenario_id, source_item_id, derived_from_tool, status,
    superseded_by_id, superseded_at, verified, verification_result, retention_policy, expires_at, analysis_field_ids
)
SELECT
    :tenant_id, n.id, :profile_id::uuid, n.position + (
        SELECT count(*) FROM convostore.profile_asset AS o
        WHERE {{bind_tenant}} AND o.tenant_id = :tenant_id AND o.profile_id = :profile_id AND o.status <> 'superseded'),
    n.name, n.asset_type, n.storage_provider, n.storage_path, n.mime_type, n.size_bytes, n.checksum, n.uploaded_at,
    n.uploaded_in_session_id, n.uploaded_in_scenario_id, n.source_item_id, n.derived_from_tool, n.status,
    n.superseded_by_id, n.superseded_at, n.verified, n.verification_result, n.retention_policy, n.expires_at,
    n.analysis_field_ids
FROM json_populate_recordset(NULL::convostore.profile_asset, :assets::json) AS n
WHERE {{bind_tenant}} AND :profile_id::uuid IS NOT NULL
RETURNING a.id

-- name: apply_profile_change
-- Compare-and-set: write the rows of a change if every profile is as expected; return `applied` or `changed`.
WITH
{{bound}},
expected AS MATERIALIZED (
    SELECT * FROM json_to_recordset(:expected::json)
        AS e (tenant_id uuid, id uuid, revision bigint, deleted_at timestamptz)
),
new_profile AS MATERIALIZED (SELECT * FROM json_populate_recordset(NULL::convostore.profile, :profiles::json)),
new_field AS MATERIALIZED (SELECT * FROM json_populate_recordset(NULL::convostore.profile_field, :fields::json)),
new_asset AS MATERIALIZED (SELECT * FROM json_populate_recordset(NULL::convostore.profile_asset, :assets::json)),
locked AS MATERIALIZED (
    SELECT p.id, p.revision, p.deleted_at
    FROM expected AS e JOIN convostore.profile AS p ON p.tenant_id = :tenant_id AND p.id = e.id
    WHERE (TABLE bound) AND e.tenant_id = :tenant_id
    ORDER BY p.id
    FOR UPDATE OF p
),
verdict AS MATERIALIZED (
    SELECT CASE
        WHEN EXISTS (
            SELECT FROM expected AS e LEFT JOIN locked AS h ON h.id = e.id
            WHERE e.revision <> coalesce(h.revision, 0) OR e.deleted_at IS DISTINCT FROM h.deleted_at
        ) THEN 'changed'
        ELSE 'applied'
    END AS verdict
),
applies AS MATERIALIZED (SELECT verdict = 'applied' AS applies FROM verdict),
written_profile AS (
    INSERT INTO convostore.profile AS p (
        tenant_id, id, customer_id, consents, verification_level, merged_into, last_interaction_at, created_at,
        updated_at, deleted_at, revision, write_id
    )
    SELECT
        n.tenant_id, n.id, n.customer_id, n.consents, n.verification_level, n.merged_into,
        n.last_interaction_at, n.created_at, n.updated_at, n.deleted_at, n.revision, n.write_id
    FROM new_profile AS n WHERE (TABLE bound) AND (TABLE applies)
    ON CONFLICT (tenant_id, id) DO UPDATE SET
        customer_id = excluded.customer_id, consents = excluded.consents,
        verification_level = excluded.verification_level, merged_into = excluded.merged_into,
        last_interaction_at = excluded.last_interaction_at, updated_at = excluded.updated_at,
        deleted_at = excluded.deleted_at, revision = excluded.revision, write_id = excluded.write_id
    WHERE CASE
        WHEN p.revision = (SELECT e.revision FROM expected AS e WHERE e.id = p.id) THEN true
        ELSE convostore.refuse('serialization_failure', 'profile_pkey')
    END
    RETURNING p.id
),
unlinked_identity AS (
    DELETE FROM convostore.channel_identity AS c
    USING json_populate_recordset(NULL::convostore.channel_identity, :unlinked::json) AS u
    WHERE (TABLE bound) AND (TABLE applies) AND c.tenant_id = :tenant_id AND u.tenant_id = :tenant_id
      AND c.profile_id = u.profile_id AND c.channel = u.channel AND c.channel_user_id = u.channel_user_id
    RETURNING c.profile_id
),
moved_identity AS (
    UPDATE convostore.channel_identity AS c SET profile_id = m.new_profile_id, position = m.position
    FROM json_to_recordset(:moved::json)
        AS m (tenant_id uuid, profile_id uuid, new_profile_id uuid, position integer, channel text, channel_user_id text)
    WHERE (TABLE bound) AND (TABLE applies) AND c.tenant_id = :tenant_id AND m.tenant_id = :tenant_id
      AND c.profile_id = m.profile_id AND c.channel = m.channel AND c.channel_user_id = m.channel_user_id
    RETURNING c.profile_id
),
released_identity AS (
    UPDATE convostore.channel_identity AS c SET living = n.deleted_at IS NULL
    FROM new_profile AS n
    WHERE (TABLE bound) AND (TABLE applies) AND c.tenant_id = :tenant_id AND n.tenant_id = :tenant_id
      AND c.profile_id = n.id AND n.merged_into IS NULL AND c.living <> (n.deleted_at IS NULL)
    RETURNING c.profile_id
),
written_identity AS (
    INSERT INTO convostore.channel_identity AS c (
        tenant_id, profile_id, channel, channel_user_id, verified, verified_at, "primary", linked_at, position,
        living
    )
    SELECT
        n.tenant_id, n.profile_id, n.channel, n.channel_user_id, n.verified, n.verified_at, n."primary",
        n.linked_at, n.position, n.living
    FROM json_populate_recordset(NULL::convostore.channel_identity, :linked::json) AS n
    WHERE (TABLE bound) AND (TABLE applies)
    ON CONFLICT (tenant_id, profile_id, channel, channel_user_id) DO UPDATE SET
        verified = excluded.verified, verified_at = excluded.verified_at, "primary" = excluded."primary",
        linked_at = excluded.linked_at, position = excluded.position
    RETURNING c.profile_id
),
written_field AS (
    INSERT INTO convostore.profile_field AS f (
        tenant_id, id, profile_id, name, value, value_type, source, source_session_id, source_scenario_id,
        source_step_id, source_item_id, source_metadata, status, superseded_by_id, superseded_at, verified,
        verification_method, verified_at, verified_by, confidence, requires_confirmation, collected_at,
        updated_at, expires_at
    )
    SELECT
        n.tenant_id, n.id, n.profile_id, n.name, n.value, n.value_type, n.source, n.source_session_id,
        n.source_scenario_id, n.source_step_id, n.source_item_id, n.source_metadata, n.status,
        n.superseded_by_id, n.superseded_at, n.verified, n.verification_method, n.verified_at, n.verified_by,
        n.confidence, n.requires_confirmation, n.collected_at, n.updated_at, n.expires_at
    FROM new_field AS n WHERE (TABLE bound) AND (TABLE applies)
    ORDER BY n.status = 'active', n.profile_id <> :unmerged_id::uuid
    ON CONFLICT (tenant_id, id) DO UPDATE SET
        profile_id = excluded.profile_id, name = excluded.name, value = excluded.value, value_type =
        excluded.value_type, source = excluded.source, source_session_id = excluded.source_session_id,
        source_scenario_id = excluded.source_scenario_id, source_step_id = excluded.source_step_id, source_item_id =
        excluded.source_item_id, source_metadata = excluded.source_metadata, status = excluded.status, superseded_by_id
        = excluded.superseded_by_id, superseded_at = excluded.superseded_at, verified = excluded.verified,
        verification_method = excluded.verification_method, verified_at = excluded.verified_at, verified_by =
        excluded.verified_by, confidence = excluded.confidence, requires_confirmation = excluded.requires_confirmation,
        collected_at = excluded.collected_at, updated_at = excluded.updated_at, expires_at = excluded.expires_at
    WHERE CASE
        WHEN f.profile_id IN (SELECT id FROM expected) THEN true
        ELSE convostore.refuse('unique_violation', 'profile_field_pkey')
    END
    RETURNING f.id
),
written_asset AS (
    INSERT INTO convostore.profile_asset AS a (
        tenant_id, id, profile_id, position, name, asset_type, storage_provider, storage_path, mime_type,
        size_bytes, checksum, uploaded_at, uploaded_in_session_id, uploaded_in_scenario_id, source_item_id,
        derived_from_tool, status, superseded_by_id, superseded_at, verified, verification_result,
        retention_policy, expires_at, analysis_field_ids
    )
    SELECT
        n.tenant_id, n.id, n.profile_id, n.position, n.name, n.asset_type, n.storage_provider, n.storage_path,
        n.mime_type, n.size_bytes, n.checksum, n.uploaded_at, n.uploaded_in_session_id,
        n.uploaded_in_scenario_id, n.source_item_id, n.derived_from_tool, n.status, n.superseded_by_id,
        n.superseded_at, n.verified, n.verification_result, n.retention_policy, n.expires_at,
        n.analysis_field_ids
    FROM new_asset AS n WHERE (TABLE bound) AND (TABLE applies)
    ON CONFLICT (tenant_id, id) DO UPDATE SET
        profile_id = excluded.profile_id, position = excluded.position, name = excluded.name, asset_type =
        excluded.asset_type, storage_provider = excluded.storage_provider, storage_path = excluded.storage_path,
        mime_type = excluded.mime_type, size_bytes = excluded.size_bytes, checksum = excluded.checksum, uploaded_at =
        excluded.uploaded_at, uploaded_in_session_id = excluded.uploaded_in_session_id, uploaded_in_scenario_id =
        excluded.uploaded_in_scenario_id, source_item_id = excluded.source_item_id, derived_from_tool =
        excluded.derived_from_tool, status = excluded.status, superseded_by_id = excluded.superseded_by_id,
        superseded_at = excluded.superseded_at, verified = excluded.verified, verification_result =
        excluded.verification_result, retention_policy = excluded.retention_policy, expires_at = excluded.expires_at,
        analysis_field_ids = excluded.analysis_field_ids
    WHERE CASE
        WHEN a.profile_id IN (SELECT id FROM expected) THEN true
        ELSE convostore.refuse('unique_violation', 'profile_asset_pkey')
    END
    RETURNING a.id
),
stored_merge AS (
    INSERT INTO convostore.profile_merge AS g (tenant_id, source_id, target_id, revision, document)
    SELECT :tenant_id, :source_id::uuid, :target_id::uuid, n.revision, :merge::json
    FROM new_profile AS n
    WHERE (TABLE bound) AND (TABLE applies) AND n.id = :target_id::uuid
    RETURNING g.source_id
),
deleted_merge AS (
    DELETE FROM convostore.profile_merge AS g
    WHERE (TABLE bound) AND (TABLE applies) AND g.tenant_id = :tenant_id AND g.source_id = :unmerged_id
    RETURNING g.source_id
)
TABLE verdict
