-- A large space has a table of its own, with one HNSW index, instead of a partial index on the table of all.
-- phase: expand
-- compatible: 0001

-- up

-- The spaces (a tenant's vectors of one number of dimensions) with a table of their own, `large_space_<tenant>_<dimensions>`. What
-- episodes are found by is copied there by every write that sees the row; searches read it once it is ready.
CREATE TABLE convostore.large_space (
    tenant_id uuid NOT NULL,
    dimensions smallint NOT NULL,
    ready boolean NOT NULL,
    CONSTRAINT large_space_pkey PRIMARY KEY (tenant_id, dimensions)
);

CALL convostore.protect('convostore.large_space');

CREATE FUNCTION convostore.large_space_table(tenant uuid, dimensions smallint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 'convostore.large_space_' || replace(tenant::text, '-', '') || '_' || dimensions;

CREATE FUNCTION convostore.copy_to_large_space() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.dimensions IS NOT NULL AND OLD.dimensions IS DISTINCT FROM NEW.dimensions AND EXISTS (
        SELECT FROM convostore.large_space AS l WHERE l.tenant_id = OLD.tenant_id AND l.dimensions = OLD.dimensions)
    THEN
        EXECUTE 'DELETE FROM ' || convostore.large_space_table(OLD.tenant_id, OLD.dimensions)
            || ' AS s WHERE (s.tenant_id, s.id) = ($1, $2)' USING OLD.tenant_id, OLD.id;
    END IF;
    IF NEW.dimensions IS NOT NULL AND EXISTS (
        SELECT FROM convostore.large_space AS l WHERE l.tenant_id = NEW.tenant_id AND l.dimensions = NEW.dimensions)
    THEN
        EXECUTE 'INSERT INTO ' || convostore.large_space_table(NEW.tenant_id, NEW.dimensions)
            || ' (tenant_id, id, agent_id, customer_profile_id, session_id, group_id, content_type, model_hash, occurred_at, '
            || 'valid_from, valid_to, dimensions, direction) VALUES ($1.tenant_id, $1.id, $1.agent_id, $1.customer_profile_id, '
            || '$1.session_id, $1.group_id, $1.content_type, $1.model_hash, $1.occurred_at, $1.valid_from, $1.valid_to, '
            || '$1.dimensions, $1.direction) ON CONFLICT (tenant_id, id) DO UPDATE SET (agent_id, customer_profile_id, '
            || 'session_id, group_id, content_type, model_hash, occurred_at, valid_from, valid_to, direction) = '
            || 'ROW (excluded.agent_id, excluded.customer_profile_id, excluded.session_id, excluded.group_id, '
            || 'excluded.content_type, excluded.model_hash, excluded.occurred_at, excluded.valid_from, excluded.valid_to, '
            || 'excluded.direction)' USING NEW;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER copies_inserted AFTER INSERT ON convostore.episode
    FOR EACH ROW WHEN (NEW.dimensions IS NOT NULL) EXECUTE FUNCTION convostore.copy_to_large_space();

CREATE TRIGGER copies_updated
    AFTER UPDATE OF agent_id, customer_profile_id, session_id, group_id, content_type, embedding, embedding_model, occurred_at,
        valid_from, valid_to ON convostore.episode
    FOR EACH ROW WHEN (OLD.dimensions IS NOT NULL OR NEW.dimensions IS NOT NULL)
    EXECUTE FUNCTION convostore.copy_to_large_space();

CREATE TRIGGER copies_deleted AFTER DELETE ON convostore.episode
    FOR EACH ROW WHEN (OLD.dimensions IS NOT NULL) EXECUTE FUNCTION convostore.copy_to_large_space();

CREATE FUNCTION convostore.large_spaces() RETURNS TABLE (tenant_id uuid, dimensions smallint, ready boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT l.tenant_id, l.dimensions, l.ready FROM convostore.large_space AS l;
END;

REVOKE EXECUTE ON FUNCTION convostore.large_spaces() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION convostore.large_spaces() TO convostore_maintenance;

GRANT SELECT ON convostore.large_space TO convostore_search;

GRANT CREATE ON SCHEMA convostore TO convostore_search;

ALTER FUNCTION convostore.large_spaces OWNER TO convostore_search;

REVOKE CREATE ON SCHEMA convostore FROM convostore_search;

-- The release before looks for these by name, and searches exactly without.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT i.indexname FROM pg_indexes AS i WHERE i.schemaname = 'convostore' AND starts_with(i.indexname, 'episode_hnsw_')
    LOOP
        EXECUTE format('DROP INDEX convostore.%I', name);
    END LOOP;
END
$$;

-- down

DROP TRIGGER copies_inserted ON convostore.episode;

DROP TRIGGER copies_updated ON convostore.episode;

DROP TRIGGER copies_deleted ON convostore.episode;

DROP FUNCTION convostore.copy_to_large_space;

DROP FUNCTION convostore.large_space_table;

DROP FUNCTION convostore.large_spaces;

DROP TABLE convostore.large_space;

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT t.tablename FROM pg_tables AS t WHERE t.schemaname = 'convostore' AND starts_with(t.tablename, 'large_space_')
    LOOP
        EXECUTE format('DROP TABLE convostore.%I', name);
    END LOOP;
END
$$;
