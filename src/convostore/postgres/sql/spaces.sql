-- Spaces (a tenant's vectors of one number of dimensions): tables of large ones, and the migration to another model.

-- name: tables
-- The tables whose names have a prefix and that have a valid HNSW index.
SELECT left(c.relname, -5) AS name
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid
WHERE c.relnamespace = 'convostore'::regnamespace AND i.indisvalid AND starts_with(c.relname, :prefix)
  AND right(c.relname, 5) = '_hnsw'

-- name: episodes_to_embed
-- A tenant's episodes that have an embedding but none by a model, by id.
WITH {{bound}}
SELECT {{columns of episode}}
FROM convostore.episode AS t
WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.embedding IS NOT NULL
  AND t.embedding_model IS DISTINCT FROM :embedding_model::text
  AND t.id >= (SELECT coalesce(:after_id::uuid, '00000000-0000-0000-0000-000000000000')) AND t.id IS DISTINCT FROM :after_id
  AND NOT EXISTS (
      SELECT FROM convostore.episode_embedding AS b
      WHERE (TABLE bound) AND b.tenant_id = :tenant_id AND b.id = t.id AND b.embedding_model = :embedding_model)
ORDER BY t.id
LIMIT :limit

-- name: add_embeddings
-- Upsert embeddings by another model beside the episodes' own; return how many are stored.
WITH {{bound}},
-- FOR SHARE waits for deletes and switches under way: what they remove is skipped, and not a missing parent.
locked AS MATERIALIZED (
    SELECT t.id, t.agent_id, t.customer_profile_id, t.session_id, t.group_id, t.content_type, t.occurred_at, t.valid_from,
           t.valid_to
    FROM (SELECT :tenant_id::uuid AS tenant_id, unnest(:episode_ids::uuid[]) AS id OFFSET 0) AS given
    JOIN convostore.episode AS t ON t.tenant_id = :tenant_id AND t.id = given.id
    WHERE (TABLE bound) AND given.tenant_id = :tenant_id AND t.embedding_model IS DISTINCT FROM :embedding_model::text
    ORDER BY t.id
    FOR SHARE OF t
),
stored AS (
    INSERT INTO convostore.episode_embedding AS b (
        tenant_id, id, agent_id, customer_profile_id, session_id, group_id, content_type, embedding, embedding_model,
        occurred_at, valid_from, valid_to)
    SELECT :tenant_id, t.id, t.agent_id, t.customer_profile_id, t.session_id, t.group_id, t.content_type,
           given.embedding, :embedding_model, t.occurred_at, t.valid_from, t.valid_to
    FROM unnest(:episode_ids::uuid[], :embeddings::vector[]) AS given (id, embedding)
    JOIN locked AS t ON t.id = given.id
    WHERE (TABLE bound)
    ON CONFLICT (tenant_id, id, embedding_model) DO UPDATE SET embedding = excluded.embedding
    RETURNING b.id
)
SELECT count(*) FROM stored

-- name: lock_embedded
-- Lock episodes that get embeddings by another model beside their own, in the order of their ids.
SELECT t.id
FROM (SELECT :tenant_id::uuid AS tenant_id, unnest(:episode_ids::uuid[]) AS id OFFSET 0) AS given
JOIN convostore.episode AS t ON t.tenant_id = :tenant_id AND t.id = given.id
WHERE {{bind_tenant}} AND given.tenant_id = :tenant_id AND t.embedding_model IS DISTINCT FROM :embedding_model::text
ORDER BY t.id
FOR SHARE OF t

-- name: store_embeddings
-- Upsert embeddings of locked episodes; return the ids of those that are stored.
INSERT INTO convostore.episode_embedding AS b (
    tenant_id, id, agent_id, customer_profile_id, session_id, group_id, content_type, embedding, embedding_model,
    occurred_at, valid_from, valid_to)
SELECT t.tenant_id, t.id, t.agent_id, t.customer_profile_id, t.session_id, t.group_id, t.content_type,
       given.embedding, :embedding_model::text, t.occurred_at, t.valid_from, t.valid_to
FROM unnest(:episode_ids::uuid[], :embeddings::vector[]) AS given (id, embedding)
JOIN convostore.episode AS t ON t.tenant_id = :tenant_id AND t.id = given.id
WHERE {{bind_tenant}} AND t.embedding_model IS DISTINCT FROM :embedding_model
ON CONFLICT (tenant_id, id, embedding_model) DO UPDATE SET embedding = excluded.embedding
RETURNING b.id

-- name: switch_embeddings
-- Move the embeddings by a model into the episodes if none is missing; return their number, or NULL if one is.
WITH {{bound}},
complete AS MATERIALIZED (
    SELECT NOT EXISTS (
        SELECT FROM convostore.episode AS t
        WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.embedding IS NOT NULL
          AND t.embedding_model IS DISTINCT FROM :embedding_model::text
          AND NOT EXISTS (
              SELECT FROM convostore.episode_embedding AS b
              WHERE (TABLE bound) AND b.tenant_id = :tenant_id AND b.id = t.id AND b.embedding_model = :embedding_model)
    ) AS complete
),
-- Episodes are locked before their embeddings, as a delete and `add_embeddings` do, so that they cannot deadlock.
locked AS MATERIALIZED (
    SELECT t.id
    FROM convostore.episode AS t
    WHERE (TABLE bound) AND (TABLE complete) AND t.tenant_id = :tenant_id AND t.id IN (
        SELECT b.id FROM convostore.episode_embedding AS b
        WHERE (TABLE bound) AND b.tenant_id = :tenant_id AND b.embedding_model = :embedding_model)
    ORDER BY t.id
    FOR UPDATE OF t
),
moved AS (
    DELETE FROM convostore.episode_embedding AS b
    WHERE (TABLE bound) AND (TABLE complete) AND b.tenant_id = :tenant_id AND b.embedding_model = :embedding_model
      AND b.id = ANY (ARRAY(SELECT locked.id FROM locked))
    RETURNING b.id, b.embedding
),
switched AS (
    UPDATE convostore.episode AS t SET embedding = moved.embedding, embedding_model = :embedding_model
    FROM moved
    WHERE (TABLE bound) AND (TABLE complete) AND t.tenant_id = :tenant_id AND t.id = moved.id
    RETURNING t.id
)
SELECT CASE WHEN complete THEN (SELECT count(*) FROM switched) END FROM complete
