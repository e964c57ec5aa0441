-- A purge finds what it removes, and the tenants that have any, by indexes.
-- phase: expand
-- compatible: 0001

-- up

-- Two indexes for each kind of what is deleted softly: by tenant for a purge, and by the time alone for the tenants that have
-- something to purge. That is an expression which no tenant's statement compares or implies, so that none is planned with it.
-- Building both takes less than a second per million rows in memory, in which nobody can write; made CONCURRENTLY, none.

CREATE INDEX IF NOT EXISTS agent_deleted_at_idx ON convostore.agent (tenant_id, deleted_at, id)
    WHERE deleted_at IS NOT NULL;

CREATE INDEX IF NOT EXISTS agent_purge_idx ON convostore.agent ((deleted_at AT TIME ZONE 'UTC'))
    WHERE (deleted_at AT TIME ZONE 'UTC') IS NOT NULL;

CREATE INDEX IF NOT EXISTS rule_deleted_at_idx ON convostore.rule (tenant_id, deleted_at, id)
    WHERE deleted_at IS NOT NULL;

CREATE INDEX IF NOT EXISTS rule_purge_idx ON convostore.rule ((deleted_at AT TIME ZONE 'UTC'))
    WHERE (deleted_at AT TIME ZONE 'UTC') IS NOT NULL;

CREATE INDEX IF NOT EXISTS scenario_deleted_at_idx ON convostore.scenario (tenant_id, deleted_at, id)
    WHERE deleted_at IS NOT NULL;

CREATE INDEX IF NOT EXISTS scenario_purge_idx ON convostore.scenario ((deleted_at AT TIME ZONE 'UTC'))
    WHERE (deleted_at AT TIME ZONE 'UTC') IS NOT NULL;

CREATE INDEX IF NOT EXISTS template_deleted_at_idx ON convostore.template (tenant_id, deleted_at, id)
    WHERE deleted_at IS NOT NULL;

CREATE INDEX IF NOT EXISTS template_purge_idx ON convostore.template ((deleted_at AT TIME ZONE 'UTC'))
    WHERE (deleted_at AT TIME ZONE 'UTC') IS NOT NULL;

CREATE INDEX IF NOT EXISTS variable_deleted_at_idx ON convostore.variable (tenant_id, deleted_at, id)
    WHERE deleted_at IS NOT NULL;

CREATE INDEX IF NOT EXISTS variable_purge_idx ON convostore.variable ((deleted_at AT TIME ZONE 'UTC'))
    WHERE (deleted_at AT TIME ZONE 'UTC') IS NOT NULL;

CREATE INDEX IF NOT EXISTS tool_activation_deleted_at_idx ON convostore.tool_activation (tenant_id, deleted_at, id)
    WHERE deleted_at IS NOT NULL;

CREATE INDEX IF NOT EXISTS tool_activation_purge_idx ON convostore.tool_activation ((deleted_at AT TIME ZONE 'UTC'))
    WHERE (deleted_at AT TIME ZONE 'UTC') IS NOT NULL;

CREATE INDEX IF NOT EXISTS migration_plan_deleted_at_idx ON convostore.migration_plan (tenant_id, deleted_at, id)
    WHERE deleted_at IS NOT NULL;

CREATE INDEX IF NOT EXISTS migration_plan_purge_idx ON convostore.migration_plan ((deleted_at AT TIME ZONE 'UTC'))
    WHERE (deleted_at AT TIME ZONE 'UTC') IS NOT NULL;

CREATE INDEX IF NOT EXISTS profile_deleted_at_idx ON convostore.profile (tenant_id, deleted_at, id)
    WHERE deleted_at IS NOT NULL AND merged_into IS NULL;

CREATE INDEX IF NOT EXISTS profile_purge_idx ON convostore.profile ((deleted_at AT TIME ZONE 'UTC'))
    WHERE (deleted_at AT TIME ZONE 'UTC') IS NOT NULL AND merged_into IS NULL;

-- The tenants of what was deleted softly before a moment, of the 1,000 oldest of each kind. For whoever purges all tenants.
CREATE FUNCTION convostore.tenants_to_purge(before timestamptz) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    (SELECT t.tenant_id FROM convostore.agent AS t
     WHERE t.deleted_at AT TIME ZONE 'UTC' < before AT TIME ZONE 'UTC'
     ORDER BY t.deleted_at AT TIME ZONE 'UTC' LIMIT 1000)
    UNION
    (SELECT t.tenant_id FROM convostore.rule AS t
     WHERE t.deleted_at AT TIME ZONE 'UTC' < before AT TIME ZONE 'UTC'
     ORDER BY t.deleted_at AT TIME ZONE 'UTC' LIMIT 1000)
    UNION
    (SELECT t.tenant_id FROM convostore.scenario AS t
     WHERE t.deleted_at AT TIME ZONE 'UTC' < before AT TIME ZONE 'UTC'
     ORDER BY t.deleted_at AT TIME ZONE 'UTC' LIMIT 1000)
    UNION
    (SELECT t.tenant_id FROM convostore.template AS t
     WHERE t.deleted_at AT TIME ZONE 'UTC' < before AT TIME ZONE 'UTC'
     ORDER BY t.deleted_at AT TIME ZONE 'UTC' LIMIT 1000)
    UNION
    (SELECT t.tenant_id FROM convostore.variable AS t
     WHERE t.deleted_at AT TIME ZONE 'UTC' < before AT TIME ZONE 'UTC'
     ORDER BY t.deleted_at AT TIME ZONE 'UTC' LIMIT 1000)
    UNION
    (SELECT t.tenant_id FROM convostore.tool_activation AS t
     WHERE t.deleted_at AT TIME ZONE 'UTC' < before AT TIME ZONE 'UTC'
     ORDER BY t.deleted_at AT TIME ZONE 'UTC' LIMIT 1000)
    UNION
    (SELECT t.tenant_id FROM convostore.migration_plan AS t
     WHERE t.deleted_at AT TIME ZONE 'UTC' < before AT TIME ZONE 'UTC'
     ORDER BY t.deleted_at AT TIME ZONE 'UTC' LIMIT 1000)
    UNION
    (SELECT t.tenant_id FROM convostore.profile AS t
     WHERE t.deleted_at AT TIME ZONE 'UTC' < before AT TIME ZONE 'UTC' AND t.merged_into IS NULL
     ORDER BY t.deleted_at AT TIME ZONE 'UTC' LIMIT 1000);
END;

REVOKE EXECUTE ON FUNCTION convostore.tenants_to_purge FROM PUBLIC;

GRANT EXECUTE ON FUNCTION convostore.tenants_to_purge TO convostore_maintenance;

GRANT SELECT ON convostore.scenario, convostore.template, convostore.variable, convostore.tool_activation,
    convostore.migration_plan TO convostore_search;

GRANT CREATE ON SCHEMA convostore TO convostore_search;

ALTER FUNCTION convostore.tenants_to_purge OWNER TO convostore_search;

REVOKE CREATE ON SCHEMA convostore FROM convostore_search;

-- down

DROP FUNCTION convostore.tenants_to_purge;

REVOKE SELECT ON convostore.scenario, convostore.template, convostore.variable, convostore.tool_activation,
    convostore.migration_plan FROM convostore_search;

DROP INDEX convostore.agent_deleted_at_idx, convostore.agent_purge_idx;

DROP INDEX convostore.rule_deleted_at_idx, convostore.rule_purge_idx;

DROP INDEX convostore.scenario_deleted_at_idx, convostore.scenario_purge_idx;

DROP INDEX convostore.template_deleted_at_idx, convostore.template_purge_idx;

DROP INDEX convostore.variable_deleted_at_idx, convostore.variable_purge_idx;

DROP INDEX convostore.tool_activation_deleted_at_idx, convostore.tool_activation_purge_idx;

DROP INDEX convostore.migration_plan_deleted_at_idx, convostore.migration_plan_purge_idx;

DROP INDEX convostore.profile_deleted_at_idx, convostore.profile_purge_idx;
