-- Which spaces are large is told by a sample of the episodes, instead of by counting all.
-- phase: expand
-- compatible: 0001

-- up

-- One episode with an embedding in 256, by a hash of its id: about how large each space is. Building it takes about a second per
-- million episodes in memory, in which nobody can add any; made CONCURRENTLY beforehand, none.
CREATE INDEX IF NOT EXISTS episode_sample_idx ON convostore.episode (tenant_id, dimensions)
    WHERE dimensions IS NOT NULL AND (uuid_hash_extended(id, 0) & 255) = 0;

-- The spaces with more than so many episodes, and about how many. A space of 20,000 has 78 in the sample, and less than half of
-- that once in a million times; one that seems to have between a half and twice as many as are asked for is read up to that.
CREATE FUNCTION convostore.vector_spaces_above(most bigint) RETURNS TABLE (tenant_id uuid, dimensions smallint, episodes bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog SET enable_seqscan = off
BEGIN ATOMIC
    SELECT s.tenant_id, s.dimensions, greatest(256 * s.sampled, most + 1)
    FROM (
        SELECT e.tenant_id, e.dimensions, count(*) AS sampled
        FROM convostore.episode AS e
        WHERE e.dimensions IS NOT NULL AND (uuid_hash_extended(e.id, 0) & 255) = 0 AND most >= 5000
        GROUP BY e.tenant_id, e.dimensions
        HAVING count(*) > most / 512
        UNION ALL
        -- Of so few a sample says nothing.
        SELECT DISTINCT e.tenant_id, e.dimensions, 0
        FROM convostore.episode AS e
        WHERE e.dimensions IS NOT NULL AND most < 5000
    ) AS s
    WHERE s.sampled > most / 128 AND most >= 5000
       OR EXISTS (
           SELECT FROM convostore.episode AS e WHERE e.tenant_id = s.tenant_id AND e.dimensions = s.dimensions OFFSET most);
END;

-- From one tenant to the next by the covering indexes, whose orders these are, however many episodes each has.
CREATE FUNCTION convostore.tenants_with_embeddings() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    WITH RECURSIVE tenant (id) AS (
        SELECT least(
            (SELECT e.tenant_id FROM convostore.episode AS e WHERE e.dimensions <= 1280
             ORDER BY e.tenant_id, e.agent_id, e.dimensions LIMIT 1),
            (SELECT e.tenant_id FROM convostore.episode AS e WHERE e.dimensions > 1280
             ORDER BY e.tenant_id, e.agent_id, e.dimensions LIMIT 1))
        UNION ALL
        SELECT least(
            (SELECT e.tenant_id FROM convostore.episode AS e WHERE e.tenant_id > tenant.id AND e.dimensions <= 1280
             ORDER BY e.tenant_id, e.agent_id, e.dimensions LIMIT 1),
            (SELECT e.tenant_id FROM convostore.episode AS e WHERE e.tenant_id > tenant.id AND e.dimensions > 1280
             ORDER BY e.tenant_id, e.agent_id, e.dimensions LIMIT 1))
        FROM tenant
        WHERE tenant.id IS NOT NULL
    )
    SELECT tenant.id FROM tenant WHERE tenant.id IS NOT NULL;
END;

REVOKE EXECUTE ON FUNCTION convostore.vector_spaces_above, convostore.tenants_with_embeddings FROM PUBLIC;

GRANT EXECUTE ON FUNCTION convostore.vector_spaces_above, convostore.tenants_with_embeddings TO convostore_maintenance;

GRANT CREATE ON SCHEMA convostore TO convostore_search;

ALTER FUNCTION convostore.vector_spaces_above OWNER TO convostore_search;

ALTER FUNCTION convostore.tenants_with_embeddings OWNER TO convostore_search;

REVOKE CREATE ON SCHEMA convostore FROM convostore_search;

-- down

DROP FUNCTION convostore.tenants_with_embeddings;

DROP FUNCTION convostore.vector_spaces_above;

DROP INDEX convostore.episode_sample_idx;
