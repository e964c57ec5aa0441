-- A call reads what it asks for also of a tenant that has far more than most.
-- phase: expand
-- compatible: 0001

-- up

-- The planner is not told how many rows a tenant has on average: where that is one, it would read all that a tenant has rather than
-- look a row up, for all tenants alike. Without statistics it expects a two-hundredth of the table; of episodes, whose number the text
-- search asks the planner for, it expects at least that, as far as the largest tenant has so many.
-- What is distributed stays as it is: shards plan for the tenant that is given.
DO $$
DECLARE
    of_table text;
BEGIN
    IF current_setting('citus.enable_ddl_propagation')::boolean THEN
        RETURN;
    END IF;
    FOR of_table IN
        SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        WHERE c.relnamespace = 'convostore'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'episode'
        ORDER BY c.relname
    LOOP
        EXECUTE format('ALTER TABLE convostore.%I ALTER COLUMN tenant_id SET STATISTICS 0', of_table);
        -- ANALYZE leaves what it gathered before.
        IF current_setting('server_version_num')::integer >= 180000 THEN
            PERFORM pg_clear_attribute_stats('convostore', of_table, 'tenant_id', i.inherited)
            FROM (VALUES (false), (true)) AS i (inherited);
        ELSIF (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) THEN
            DELETE FROM pg_statistic AS s
            USING pg_attribute AS a
            WHERE a.attrelid = format('convostore.%I', of_table)::regclass AND a.attname = 'tenant_id'
              AND s.starelid = a.attrelid AND s.staattnum = a.attnum;
        END IF;
    END LOOP;
    ALTER TABLE convostore.episode ALTER COLUMN tenant_id SET (n_distinct = 200);
    ANALYZE convostore.episode (tenant_id);
END
$$;

CREATE OR REPLACE FUNCTION convostore.create_audit_months(moment timestamptz, ahead integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    start timestamp;
    name text;
    created bigint := 0;
BEGIN
    IF (moment BETWEEN '1900-01-01 00:00+00' AND now() + interval '1 year' AND ahead BETWEEN 0 AND 12) IS NOT TRUE THEN
        RAISE invalid_parameter_value USING MESSAGE = 'months are created from 1900 to a year from now, 13 at once';
    END IF;
    FOR start IN
        SELECT date_trunc('month', moment AT TIME ZONE 'UTC') + make_interval(months => n)
        FROM generate_series(0, ahead) AS n
    LOOP
        name := 'audit_body_' || to_char(start, 'YYYY_MM');
        -- Does not conflict with inserts. Without it a partition that another call created would be visible before the
        -- caches of this session know of it, which they do once that call has released its locks.
        LOCK TABLE convostore.audit_body IN SHARE UPDATE EXCLUSIVE MODE;
        CONTINUE WHEN convostore.audit_month_is_made(start);
        EXECUTE format('CREATE TABLE IF NOT EXISTS convostore.%I (LIKE convostore.audit_body)', name);
        EXECUTE format('ALTER TABLE convostore.%I ALTER COLUMN tenant_id SET STATISTICS 0', name);
        EXECUTE format('ALTER TABLE convostore.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        CALL convostore.make_append_only(format('convostore.%I', name)::regclass);
        EXECUTE format('ALTER TABLE convostore.audit_body ATTACH PARTITION convostore.%I FOR VALUES FROM (%L) TO (%L)',
            name, start AT TIME ZONE 'UTC', (start + interval '1 month') AT TIME ZONE 'UTC');
        created := created + 1;
    END LOOP;
    RETURN created;
END
$$;

-- The last record of the chain without session is the last of the tenant's part of an index; by its number alone it was sorted out
-- of all of them.
CREATE OR REPLACE FUNCTION convostore.lock_audit_head(tenant uuid, of_chain text) RETURNS convostore.audit_head LANGUAGE plpgsql AS $$
DECLARE
    head convostore.audit_head;
    last record;
BEGIN
    SELECT h.* INTO head FROM convostore.audit_head AS h WHERE h.tenant_id = tenant AND h.chain = of_chain FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO convostore.audit_head AS h (tenant_id, chain, sequence, hash)
        VALUES (tenant, of_chain, 0, decode(repeat('00', 32), 'hex'))
        ON CONFLICT (tenant_id, chain) DO UPDATE SET chain = excluded.chain
        RETURNING h.* INTO head;
    END IF;
    IF of_chain = '' THEN
        SELECT r.sequence, r.hash INTO last FROM convostore.audit_record AS r
        WHERE r.tenant_id = tenant AND r.session_id IS NULL ORDER BY r.session_id DESC, r.sequence DESC LIMIT 1;
    ELSE
        SELECT r.sequence, r.hash INTO last FROM convostore.audit_record AS r
        WHERE r.tenant_id = tenant AND r.session_id = of_chain::uuid ORDER BY r.sequence DESC LIMIT 1;
    END IF;
    IF last.sequence > head.sequence OR (last.sequence = head.sequence AND last.hash <> head.hash) THEN
        RAISE WARNING 'the head of an audit chain contradicted its records and was restored from them'
            USING DETAIL = format('tenant %s, chain %s, sequence %s instead of %s', tenant, of_chain, head.sequence, last.sequence);
        UPDATE convostore.audit_head AS h SET sequence = last.sequence, hash = last.hash
        WHERE h.tenant_id = tenant AND h.chain = of_chain
        RETURNING h.* INTO head;
    END IF;
    RETURN head;
END
$$;

-- The profiles whose active field of a name has a value. Row-level security lets no index be used by what is not leakproof, as the hash
-- of a value.
CREATE FUNCTION convostore.profiles_with_field(of_tenant uuid, field text, wanted jsonb) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT f.profile_id
    FROM convostore.profile_field AS f
    WHERE of_tenant = nullif(current_setting('convostore.tenant', true), '')::uuid
      AND f.tenant_id = of_tenant AND f.name = field AND f.status = 'active'
      AND jsonb_hash_extended(coalesce(f.value, 'null'), 0) = jsonb_hash_extended(wanted, 0)
      AND coalesce(f.value, 'null') = wanted;
END;

REVOKE EXECUTE ON FUNCTION convostore.profiles_with_field FROM PUBLIC;

GRANT EXECUTE ON FUNCTION convostore.profiles_with_field TO convostore_app, convostore_maintenance, convostore_reader;

GRANT CREATE ON SCHEMA convostore TO convostore_search;

ALTER FUNCTION convostore.profiles_with_field OWNER TO convostore_search;

REVOKE CREATE ON SCHEMA convostore FROM convostore_search;

-- down

DROP FUNCTION convostore.profiles_with_field;

CREATE OR REPLACE FUNCTION convostore.lock_audit_head(tenant uuid, of_chain text) RETURNS convostore.audit_head LANGUAGE plpgsql AS $$
DECLARE
    head convostore.audit_head;
    last record;
BEGIN
    SELECT h.* INTO head FROM convostore.audit_head AS h WHERE h.tenant_id = tenant AND h.chain = of_chain FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO convostore.audit_head AS h (tenant_id, chain, sequence, hash)
        VALUES (tenant, of_chain, 0, decode(repeat('00', 32), 'hex'))
        ON CONFLICT (tenant_id, chain) DO UPDATE SET chain = excluded.chain
        RETURNING h.* INTO head;
    END IF;
    IF of_chain = '' THEN
        SELECT r.sequence, r.hash INTO last FROM convostore.audit_record AS r
        WHERE r.tenant_id = tenant AND r.session_id IS NULL ORDER BY r.sequence DESC LIMIT 1;
    ELSE
        SELECT r.sequence, r.hash INTO last FROM convostore.audit_record AS r
        WHERE r.tenant_id = tenant AND r.session_id = of_chain::uuid ORDER BY r.sequence DESC LIMIT 1;
    END IF;
    IF last.sequence > head.sequence OR (last.sequence = head.sequence AND last.hash <> head.hash) THEN
        RAISE WARNING 'the head of an audit chain contradicted its records and was restored from them'
            USING DETAIL = format('tenant %s, chain %s, sequence %s instead of %s', tenant, of_chain, head.sequence, last.sequence);
        UPDATE convostore.audit_head AS h SET sequence = last.sequence, hash = last.hash
        WHERE h.tenant_id = tenant AND h.chain = of_chain
        RETURNING h.* INTO head;
    END IF;
    RETURN head;
END
$$;

CREATE OR REPLACE FUNCTION convostore.create_audit_months(moment timestamptz, ahead integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    start timestamp;
    name text;
    created bigint := 0;
BEGIN
    IF (moment BETWEEN '1900-01-01 00:00+00' AND now() + interval '1 year' AND ahead BETWEEN 0 AND 12) IS NOT TRUE THEN
        RAISE invalid_parameter_value USING MESSAGE = 'months are created from 1900 to a year from now, 13 at once';
    END IF;
    FOR start IN
        SELECT date_trunc('month', moment AT TIME ZONE 'UTC') + make_interval(months => n)
        FROM generate_series(0, ahead) AS n
    LOOP
        name := 'audit_body_' || to_char(start, 'YYYY_MM');
        -- Does not conflict with inserts. Without it a partition that another call created would be visible before the
        -- caches of this session know of it, which they do once that call has released its locks.
        LOCK TABLE convostore.audit_body IN SHARE UPDATE EXCLUSIVE MODE;
        CONTINUE WHEN convostore.audit_month_is_made(start);
        EXECUTE format('CREATE TABLE IF NOT EXISTS convostore.%I (LIKE convostore.audit_body)', name);
        EXECUTE format('ALTER TABLE convostore.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        CALL convostore.make_append_only(format('convostore.%I', name)::regclass);
        EXECUTE format('ALTER TABLE convostore.audit_body ATTACH PARTITION convostore.%I FOR VALUES FROM (%L) TO (%L)',
            name, start AT TIME ZONE 'UTC', (start + interval '1 month') AT TIME ZONE 'UTC');
        created := created + 1;
    END LOOP;
    RETURN created;
END
$$;

DO $$
DECLARE
    of_table text;
BEGIN
    IF current_setting('citus.enable_ddl_propagation')::boolean THEN
        RETURN;
    END IF;
    FOR of_table IN
        SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        WHERE c.relnamespace = 'convostore'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'episode'
        ORDER BY c.relname
    LOOP
        EXECUTE format('ALTER TABLE convostore.%I ALTER COLUMN tenant_id SET STATISTICS -1', of_table);
    END LOOP;
    ALTER TABLE convostore.episode ALTER COLUMN tenant_id RESET (n_distinct);
END
$$;
