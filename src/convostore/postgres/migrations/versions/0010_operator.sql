-- An operator looks without being able to change anything, as a role that only reads, and learns which tenants there are.
-- phase: expand
-- compatible: 0001

-- up

CREATE OR REPLACE PROCEDURE convostore.protect(relation regclass, changeable boolean DEFAULT true, appended boolean DEFAULT false)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    bound text := 'USING (tenant_id = nullif(current_setting(''convostore.tenant'', true), '''')::uuid)';
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', relation);
    EXECUTE format('CREATE POLICY of_bound_tenant ON %s TO convostore_app, convostore_maintenance, convostore_reader %s',
        relation, bound);
    EXECUTE format('GRANT SELECT ON %s TO convostore_app, convostore_maintenance, convostore_reader', relation);
    IF appended THEN
        EXECUTE format('CREATE POLICY for_appending ON %s TO convostore_search %s', relation, bound);
        EXECUTE format('GRANT SELECT, INSERT ON %s TO convostore_search', relation);
        RETURN;
    END IF;
    EXECUTE format('CREATE POLICY for_search ON %s FOR SELECT TO convostore_search USING (true)', relation);
    EXECUTE format('GRANT INSERT ON %s TO convostore_app, convostore_maintenance', relation);
    IF changeable THEN
        EXECUTE format('GRANT UPDATE, DELETE ON %s TO convostore_app, convostore_maintenance', relation);
    END IF;
END
$$;

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT p.tablename FROM pg_policies AS p
        WHERE p.schemaname = 'convostore' AND p.policyname = 'of_bound_tenant' ORDER BY 1
    LOOP
        EXECUTE format('ALTER POLICY of_bound_tenant ON convostore.%I '
            'TO convostore_app, convostore_maintenance, convostore_reader', name);
        EXECUTE format('GRANT SELECT ON convostore.%I TO convostore_reader', name);
    END LOOP;
END
$$;

-- The tenants with an agent, a session, an episode or a profile, by id, after one of them: a jump in four indexes for each,
-- however many rows it has. They are found in this order, so that the limit ends the recursion.
CREATE FUNCTION convostore.tenants(after uuid, most bigint) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    WITH RECURSIVE kept AS NOT MATERIALIZED (
        SELECT a.tenant_id FROM convostore.agent AS a
        UNION ALL SELECT s.tenant_id FROM convostore.session AS s
        UNION ALL SELECT e.tenant_id FROM convostore.episode AS e
        UNION ALL SELECT p.tenant_id FROM convostore.profile AS p
    ), tenant (id) AS (
        SELECT coalesce(after, (SELECT k.tenant_id FROM kept AS k ORDER BY k.tenant_id LIMIT 1))
        UNION ALL
        SELECT next.tenant_id
        FROM tenant
        CROSS JOIN LATERAL (
            SELECT k.tenant_id FROM kept AS k WHERE k.tenant_id > tenant.id ORDER BY k.tenant_id LIMIT 1
        ) AS next
    )
    SELECT tenant.id FROM tenant
    WHERE tenant.id IS DISTINCT FROM after
    LIMIT least(most, 1000);
END;

REVOKE EXECUTE ON FUNCTION convostore.tenants FROM PUBLIC;

GRANT EXECUTE ON FUNCTION convostore.tenants TO convostore_maintenance, convostore_reader;

GRANT SELECT ON convostore.agent, convostore.profile TO convostore_search;

GRANT CREATE ON SCHEMA convostore TO convostore_search;

ALTER FUNCTION convostore.tenants OWNER TO convostore_search;

REVOKE CREATE ON SCHEMA convostore FROM convostore_search;

GRANT USAGE ON SCHEMA convostore TO convostore_reader;

GRANT SELECT ON convostore.alembic_version, convostore.audit_retention TO convostore_reader;

GRANT EXECUTE ON FUNCTION convostore.bind TO convostore_reader;

SET LOCAL ROLE convostore_search;

GRANT EXECUTE ON FUNCTION convostore.session_tenant, convostore.scored_episodes TO convostore_reader;

SET LOCAL ROLE convostore_owner;

-- down

DROP FUNCTION convostore.tenants;

REVOKE SELECT ON convostore.agent, convostore.profile FROM convostore_search;

REVOKE EXECUTE ON FUNCTION convostore.bind FROM convostore_reader;

SET LOCAL ROLE convostore_search;

REVOKE EXECUTE ON FUNCTION convostore.session_tenant, convostore.scored_episodes FROM convostore_reader;

SET LOCAL ROLE convostore_owner;

REVOKE SELECT ON convostore.alembic_version, convostore.audit_retention FROM convostore_reader;

REVOKE USAGE ON SCHEMA convostore FROM convostore_reader;

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT p.tablename FROM pg_policies AS p
        WHERE p.schemaname = 'convostore' AND p.policyname = 'of_bound_tenant' ORDER BY 1
    LOOP
        EXECUTE format('ALTER POLICY of_bound_tenant ON convostore.%I TO convostore_app, convostore_maintenance', name);
        EXECUTE format('REVOKE SELECT ON convostore.%I FROM convostore_reader', name);
    END LOOP;
END
$$;

CREATE OR REPLACE PROCEDURE convostore.protect(relation regclass, changeable boolean DEFAULT true, appended boolean DEFAULT false)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    bound text := 'USING (tenant_id = nullif(current_setting(''convostore.tenant'', true), '''')::uuid)';
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', relation);
    EXECUTE format('CREATE POLICY of_bound_tenant ON %s TO convostore_app, convostore_maintenance %s', relation, bound);
    EXECUTE format('GRANT SELECT ON %s TO convostore_app, convostore_maintenance', relation);
    IF appended THEN
        EXECUTE format('CREATE POLICY for_appending ON %s TO convostore_search %s', relation, bound);
        EXECUTE format('GRANT SELECT, INSERT ON %s TO convostore_search', relation);
        RETURN;
    END IF;
    EXECUTE format('CREATE POLICY for_search ON %s FOR SELECT TO convostore_search USING (true)', relation);
    EXECUTE format('GRANT INSERT ON %s TO convostore_app, convostore_maintenance', relation);
    IF changeable THEN
        EXECUTE format('GRANT UPDATE, DELETE ON %s TO convostore_app, convostore_maintenance', relation);
    END IF;
END
$$;
