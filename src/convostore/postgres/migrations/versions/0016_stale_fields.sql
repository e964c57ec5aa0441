-- Fields of profiles that have expired are found for all tenants by the time alone.
-- phase: expand
-- compatible: 0001

-- up

-- As the indexes of purges: an expression that no tenant's statement compares or implies. Fields that never expire are not in it.
-- Building it takes less than a second per million rows in memory, in which nobody can write; made CONCURRENTLY, none.
CREATE INDEX IF NOT EXISTS profile_field_stale_idx ON convostore.profile_field ((expires_at AT TIME ZONE 'UTC'))
    WHERE status = 'active' AND (expires_at AT TIME ZONE 'UTC') IS NOT NULL;

-- The tenants of active fields that have expired at a moment, of the first 1,000. For whoever lets those of all tenants expire.
CREATE FUNCTION convostore.tenants_with_stale_fields(until timestamptz) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT DISTINCT s.tenant_id
    FROM (
        SELECT f.tenant_id
        FROM convostore.profile_field AS f
        CROSS JOIN LATERAL (
            SELECT FROM convostore.profile AS p
            WHERE p.tenant_id = f.tenant_id AND p.id = f.profile_id AND p.deleted_at IS NULL
            OFFSET 0
        ) AS living
        WHERE f.status = 'active' AND f.expires_at AT TIME ZONE 'UTC' <= until AT TIME ZONE 'UTC'
        ORDER BY f.expires_at AT TIME ZONE 'UTC'
        LIMIT 1000
    ) AS s;
END;

REVOKE EXECUTE ON FUNCTION convostore.tenants_with_stale_fields FROM PUBLIC;

GRANT EXECUTE ON FUNCTION convostore.tenants_with_stale_fields TO convostore_maintenance;

GRANT SELECT ON convostore.profile_field TO convostore_search;

GRANT CREATE ON SCHEMA convostore TO convostore_search;

ALTER FUNCTION convostore.tenants_with_stale_fields OWNER TO convostore_search;

REVOKE CREATE ON SCHEMA convostore FROM convostore_search;

-- down

DROP FUNCTION convostore.tenants_with_stale_fields;

REVOKE SELECT ON convostore.profile_field FROM convostore_search;

DROP INDEX convostore.profile_field_stale_idx;
