-- What differs in a database whose tables are distributed by tenant, beside the tables: run by `distribution`, repeatable.

-- The row of an INSERT … VALUES binds its tenant on its shard, before its policy is checked.
CREATE OR REPLACE FUNCTION convostore.bind_inserted() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM convostore.bind(NEW.tenant_id);
    RETURN NEW;
END
$$;

ALTER FUNCTION convostore.bind_inserted() OWNER TO convostore_owner;

GRANT EXECUTE ON FUNCTION convostore.bind TO convostore_search;

-- Within a transaction Citus writes to the shards of a tenant as one role, so records are appended as the caller.
ALTER FUNCTION convostore.record_audit_item SECURITY INVOKER;

GRANT EXECUTE ON FUNCTION convostore.lock_audit_head TO convostore_app, convostore_maintenance;

GRANT INSERT ON convostore.audit_record, convostore.audit_body, convostore.audit_head TO convostore_app, convostore_maintenance;

GRANT UPDATE ON convostore.audit_head TO convostore_app, convostore_maintenance;

-- Functions in SQL over distributed tables are refused, and recursion across tenants: these read every shard.
CREATE OR REPLACE FUNCTION convostore.old_sessions(before timestamptz, most bigint)
RETURNS TABLE (tenant_id uuid, session_ids uuid[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog SET citus.multi_task_query_log_level = off AS $$
#variable_conflict use_column
DECLARE
    tenants uuid[];
    sessions uuid[];
BEGIN
    SELECT array_agg(old.tenant_id), array_agg(old.session_id) INTO tenants, sessions
    FROM (
        SELECT s.tenant_id, s.session_id FROM convostore.session AS s
        WHERE s.last_activity_at AT TIME ZONE 'UTC' < before AT TIME ZONE 'UTC'
        ORDER BY s.last_activity_at AT TIME ZONE 'UTC' LIMIT least(most, 1000)
    ) AS old;
    RETURN QUERY SELECT o.tenant, array_agg(o.session) FROM unnest(tenants, sessions) AS o (tenant, session) GROUP BY o.tenant;
END
$$;

CREATE OR REPLACE FUNCTION convostore.tenants(after uuid, most bigint) RETURNS TABLE (tenant_id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog SET citus.multi_task_query_log_level = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT kept.tenant_id FROM (
        SELECT DISTINCT a.tenant_id FROM convostore.agent AS a
        UNION SELECT DISTINCT s.tenant_id FROM convostore.session AS s
        UNION SELECT DISTINCT e.tenant_id FROM convostore.episode AS e
        UNION SELECT DISTINCT p.tenant_id FROM convostore.profile AS p
    ) AS kept
    WHERE after IS NULL OR kept.tenant_id > after
    ORDER BY kept.tenant_id LIMIT least(most, 1000);
END
$$;

CREATE OR REPLACE FUNCTION convostore.text_tenants() RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog SET citus.multi_task_query_log_level = off AS $$
BEGIN
    RETURN QUERY SELECT kept.tenant_id FROM (
        SELECT DISTINCT r.tenant_id FROM convostore.rule AS r
        UNION SELECT DISTINCT e.tenant_id FROM convostore.episode AS e
        UNION SELECT DISTINCT n.tenant_id FROM convostore.entity AS n
    ) AS kept
    ORDER BY kept.tenant_id;
END
$$;

CREATE OR REPLACE FUNCTION convostore.tenants_with_embeddings() RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog SET citus.multi_task_query_log_level = off AS $$
BEGIN
    RETURN QUERY SELECT DISTINCT e.tenant_id FROM convostore.episode AS e WHERE e.dimensions IS NOT NULL ORDER BY 1;
END
$$;

CREATE OR REPLACE FUNCTION convostore.tenants_to_purge(before timestamptz) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog SET citus.multi_task_query_log_level = off AS $$
DECLARE
    until timestamp := before AT TIME ZONE 'UTC';
BEGIN
    RETURN QUERY SELECT DISTINCT kept.tenant_id FROM (
        SELECT t.tenant_id FROM convostore.agent AS t WHERE t.deleted_at AT TIME ZONE 'UTC' < until
        UNION ALL SELECT t.tenant_id FROM convostore.rule AS t WHERE t.deleted_at AT TIME ZONE 'UTC' < until
        UNION ALL SELECT t.tenant_id FROM convostore.scenario AS t WHERE t.deleted_at AT TIME ZONE 'UTC' < until
        UNION ALL SELECT t.tenant_id FROM convostore.template AS t WHERE t.deleted_at AT TIME ZONE 'UTC' < until
        UNION ALL SELECT t.tenant_id FROM convostore.variable AS t WHERE t.deleted_at AT TIME ZONE 'UTC' < until
        UNION ALL SELECT t.tenant_id FROM convostore.tool_activation AS t WHERE t.deleted_at AT TIME ZONE 'UTC' < until
        UNION ALL SELECT t.tenant_id FROM convostore.migration_plan AS t WHERE t.deleted_at AT TIME ZONE 'UTC' < until
        UNION ALL SELECT t.tenant_id FROM convostore.profile AS t WHERE t.deleted_at AT TIME ZONE 'UTC' < until
            AND t.merged_into IS NULL
    ) AS kept;
END
$$;

CREATE OR REPLACE FUNCTION convostore.tenants_with_stale_fields(until timestamptz) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog SET citus.multi_task_query_log_level = off AS $$
BEGIN
    RETURN QUERY SELECT DISTINCT f.tenant_id
    FROM convostore.profile_field AS f
    JOIN convostore.profile AS p ON p.tenant_id = f.tenant_id AND p.id = f.profile_id AND p.deleted_at IS NULL
    WHERE f.status = 'active' AND f.expires_at AT TIME ZONE 'UTC' <= until AT TIME ZONE 'UTC';
END
$$;

-- Likewise over a table that every node has, which no statement reads beside the catalogue of one node.
CREATE OR REPLACE FUNCTION convostore.audit_month_is_made(start timestamp) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_class AS c
        WHERE c.oid = to_regclass('convostore.audit_body_' || to_char(start, 'YYYY_MM')) AND c.relispartition
    ) THEN
        RETURN true;
    END IF;
    RETURN EXISTS (SELECT FROM convostore.audit_retention AS t WHERE t.month = start::date);
END
$$;

-- Citus finds the shard by the bare comparison of the tenant, beside which the planner may take a B-tree.
CREATE OR REPLACE FUNCTION convostore.named_entities(tenant uuid, agent uuid, key text, words text[]) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog SET enable_seqscan = off AS $$
#variable_conflict use_variable
DECLARE
    wanted tsquery;
BEGIN
    IF tenant IS DISTINCT FROM nullif(current_setting('convostore.tenant', true), '')::uuid THEN
        RETURN;
    END IF;
    SELECT quote_literal(convostore.text_scope(tenant, agent, NULL))::tsquery && string_agg(t.term, ' | ')::tsquery INTO wanted
    FROM (
        SELECT quote_literal(convostore.name_term(key)) AS term
        UNION ALL
        SELECT '''' || replace(replace(w.word, '\', '\\'), '''', '''''') || ''':*' FROM unnest(words) AS w (word)
    ) AS t;
    RETURN QUERY SELECT e.id FROM convostore.entity AS e
    WHERE e.tenant_id = tenant AND (e.agent_id = agent) IS TRUE
      AND convostore.entity_terms(e.tenant_id, e.agent_id, coalesce(e.words, convostore.name_words(e.name))) @@ wanted;
END
$$;

CREATE OR REPLACE FUNCTION convostore.profiles_with_field(of_tenant uuid, field text, wanted jsonb) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF of_tenant IS DISTINCT FROM nullif(current_setting('convostore.tenant', true), '')::uuid THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT f.profile_id FROM convostore.profile_field AS f
    WHERE f.tenant_id = of_tenant AND f.name = field AND f.status = 'active'
      AND jsonb_hash_extended(coalesce(f.value, 'null'), 0) = jsonb_hash_extended(wanted, 0) AND coalesce(f.value, 'null') = wanted;
END
$$;
