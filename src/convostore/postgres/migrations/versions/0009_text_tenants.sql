-- Texts are made findable anew for every tenant that has any.
-- phase: expand
-- compatible: 0001

-- up

GRANT SELECT ON convostore.rule, convostore.entity TO convostore_search;

-- From one tenant to the next by the primary keys, however many texts each has.
CREATE FUNCTION convostore.text_tenants() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    WITH RECURSIVE text AS NOT MATERIALIZED (
        SELECT r.tenant_id FROM convostore.rule AS r
        UNION ALL SELECT e.tenant_id FROM convostore.episode AS e
        UNION ALL SELECT n.tenant_id FROM convostore.entity AS n
    ), tenant (id) AS (
        (SELECT t.tenant_id FROM text AS t ORDER BY t.tenant_id LIMIT 1)
        UNION ALL
        SELECT next.tenant_id
        FROM tenant
        CROSS JOIN LATERAL (
            SELECT t.tenant_id FROM text AS t WHERE t.tenant_id > tenant.id ORDER BY t.tenant_id LIMIT 1
        ) AS next
    )
    SELECT tenant.id FROM tenant;
END;

REVOKE EXECUTE ON FUNCTION convostore.text_tenants() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION convostore.text_tenants() TO convostore_maintenance;

GRANT CREATE ON SCHEMA convostore TO convostore_search;

ALTER FUNCTION convostore.text_tenants OWNER TO convostore_search;

REVOKE CREATE ON SCHEMA convostore FROM convostore_search;

-- down

DROP FUNCTION convostore.text_tenants;

REVOKE SELECT ON convostore.rule, convostore.entity FROM convostore_search;
