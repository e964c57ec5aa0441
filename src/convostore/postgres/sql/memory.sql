-- Memory: text search, entities by name and vector, graph traversal, and deletes of several tables.

-- name: text_search_episodes
-- An agent's episodes that match a query, by BM25.
SELECT {{columns of episode}}
FROM convostore.scored_episodes(
    :tenant_id, :agent_id, :query, :terms::text[], :every, :language, :customer_profile_id, :session_id, :group_id,
    :content_type, :since, :until, :as_of, :limit::bigint + :offset::bigint) AS m
-- OFFSET 0 forces index lookups: the planner cannot estimate the function and would hash all of the tenant's episodes.
CROSS JOIN LATERAL (
    SELECT t.* FROM convostore.episode AS t
    WHERE {{bind_tenant}} AND t.tenant_id = :tenant_id AND t.id = m.id OFFSET 0
) AS t
WHERE {{bind_tenant}}
ORDER BY m.score DESC, t.id
LIMIT :limit::bigint OFFSET :offset::bigint

-- name: find_entities
-- An agent's entities by name, as `domain.text.names` compares and scores them, or nearest to a vector, with scores.
SELECT {{columns of entity}}, t.score
FROM (
    SELECT t.*, CASE
        WHEN :embedding IS NOT NULL THEN n.similarity
        WHEN starts_with(n.name, :key || ' ') THEN 1
        ELSE (
            SELECT (CASE WHEN w.whole > 0 THEN 500000 ELSE 0 END + 400000 * (w.whole + w.begun)
                / (2 * greatest(cardinality(:words::text[]), length(n.name) - length(replace(n.name, ' ', '')) - 1, 1))
                ) / 1000000.0::double precision
            FROM (
                SELECT count(*) FILTER (WHERE strpos(n.name, ' ' || w.word || ' ') > 0) AS whole,
                       count(*) FILTER (WHERE strpos(n.name, ' ' || w.word) > 0) AS begun
                FROM unnest(:words::text[]) AS w (word)
            ) AS w
        ) END AS score
    FROM (
        SELECT t.* FROM convostore.entity AS t
        WHERE {{bind_tenant}} AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id
          AND t.customer_profile_id = :customer_profile_id
        UNION ALL
        -- OFFSET 0 forces index lookups: the planner cannot estimate the function and would hash all of the agent's.
        SELECT t.*
        FROM convostore.named_entities(:tenant_id, :agent_id, :key, :words) AS m (id)
        CROSS JOIN LATERAL (
            SELECT t.* FROM convostore.entity AS t
            WHERE {{bind_tenant}} AND t.tenant_id = :tenant_id AND t.id = m.id OFFSET 0
        ) AS t
        WHERE {{bind_tenant}} AND :customer_profile_id::uuid IS NULL AND :key::text IS NOT NULL
        UNION ALL
        SELECT t.* FROM convostore.entity AS t
        WHERE {{bind_tenant}} AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id
          AND :customer_profile_id::uuid IS NULL AND :key::text IS NULL
    ) AS t
    -- Here the embedding gets its type, which Citus does not tell a shard.
    CROSS JOIN LATERAL (
        SELECT coalesce(t.words, convostore.name_words(t.name)) AS name,
               convostore.similarity(t.embedding, :embedding::vector) AS similarity
    ) AS n
    WHERE (:key::text IS NULL OR starts_with(n.name, :key || ' ') OR n.name LIKE ANY (:patterns::text[]))
      AND (:embedding IS NULL OR t.embedding IS NOT NULL)
      AND (:entity_type::text IS NULL OR t.entity_type = :entity_type)
      AND (:embedding_model::text IS NULL OR t.embedding_model = :embedding_model)
      AND (:as_of::timestamptz IS NULL OR (t.valid_from <= :as_of AND (t.valid_to IS NULL OR t.valid_to > :as_of)))
) AS t
WHERE t.score >= :min_score::double precision
ORDER BY t.score DESC, CASE WHEN :embedding IS NULL THEN t.recorded_at END DESC, t.id
LIMIT :limit OFFSET :offset

-- name: traverse
-- Breadth-first traversal along valid edges in both directions, by depth; on request with the entities reached.
WITH RECURSIVE {{bound}},
level (depth, edges, frontier, previous) AS (
    SELECT 0, '{}'::uuid[], ARRAY(SELECT DISTINCT unnest(:entity_ids::uuid[])), '{}'::uuid[] WHERE (TABLE bound)
    UNION ALL
    SELECT level.depth + 1, step.edges, step.frontier, level.frontier
    FROM level
    CROSS JOIN LATERAL (
        WITH incident AS MATERIALIZED (
            SELECT edge.id, edge.other
            FROM unnest(level.frontier) AS start (id)
            CROSS JOIN LATERAL (
                SELECT r.id, r.to_entity_id AS other
                FROM convostore.relationship AS r
                WHERE (TABLE bound) AND r.tenant_id = :tenant_id AND r.from_entity_id = start.id
                  AND r.valid_from <= :as_of AND (r.valid_to IS NULL OR r.valid_to > :as_of)
                  AND (:relation_types::text[] IS NULL OR r.relation_type = ANY (:relation_types))
                UNION ALL
                SELECT r.id, r.from_entity_id
                FROM convostore.relationship AS r
                WHERE (TABLE bound) AND r.tenant_id = :tenant_id AND r.to_entity_id = start.id
                  AND r.valid_from <= :as_of AND (r.valid_to IS NULL OR r.valid_to > :as_of)
                  AND (:relation_types::text[] IS NULL OR r.relation_type = ANY (:relation_types))
            ) AS edge
        )
        -- In breadth-first order an edge leads to the previous, the same or the next level, so only two are excluded.
        SELECT ARRAY(SELECT id FROM incident EXCEPT SELECT unnest(level.edges)) AS edges,
               ARRAY(SELECT other FROM incident EXCEPT SELECT unnest(level.frontier || level.previous)) AS frontier
    ) AS step
    WHERE level.depth < :max_depth::integer AND level.frontier <> '{}'
)
-- OFFSET 0 forces index lookups: the planner cannot estimate the arrays and would read all that the tenant has.
SELECT level.depth, found.recorded_at, found.id, found.item AS relationship, NULL::record AS entity
FROM level
CROSS JOIN unnest(level.edges) AS reached (id)
CROSS JOIN LATERAL (
    SELECT t.recorded_at, t.id, ROW({{columns of relationship}}) AS item FROM convostore.relationship AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = reached.id OFFSET 0
) AS found
UNION ALL
SELECT level.depth, found.recorded_at, found.id, NULL, found.item
FROM level
CROSS JOIN unnest(level.frontier) AS reached (id)
CROSS JOIN LATERAL (
    SELECT t.recorded_at, t.id, ROW({{columns of entity}}) AS item FROM convostore.entity AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = reached.id AND :with_entities::boolean
    OFFSET 0
) AS found
ORDER BY 1, 2, 3

-- name: invalidate_relationship
-- Set the end of a relationship's validity, unless it ended earlier; return whether it exists.
WITH {{bound}},
ended AS (
    UPDATE convostore.relationship AS t
    SET valid_to = :valid_to, revision = t.revision + 1, write_id = :write_id
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = :relationship_id
      AND (t.valid_to IS NULL OR t.valid_to > :valid_to)
)
SELECT EXISTS (
    SELECT FROM convostore.relationship AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = :relationship_id
)

-- name: delete_entity
-- Delete an entity and its incident relationships; return the number of entities deleted.
WITH {{bound}},
outgoing AS (
    DELETE FROM convostore.relationship AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.from_entity_id = :entity_id
    RETURNING t.id
),
incoming AS (
    DELETE FROM convostore.relationship AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.to_entity_id = :entity_id
    RETURNING t.id
),
entities AS (
    DELETE FROM convostore.entity AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = :entity_id
    RETURNING t.id
)
SELECT count(*) FROM entities

-- name: delete_by_group
-- Delete a group's episodes, entities and relationships, and those incident to its entities; return their number.
WITH {{bound}},
episodes AS (
    DELETE FROM convostore.episode AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.group_id = :group_id
    RETURNING t.id
),
entities AS (
    DELETE FROM convostore.entity AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.group_id = :group_id
    RETURNING t.id
),
incident AS MATERIALIZED (
    SELECT t.id
    FROM entities AS e JOIN convostore.relationship AS t ON t.tenant_id = :tenant_id AND t.from_entity_id = e.id
    WHERE (TABLE bound)
    UNION
    SELECT t.id
    FROM entities AS e JOIN convostore.relationship AS t ON t.tenant_id = :tenant_id AND t.to_entity_id = e.id
    WHERE (TABLE bound)
    UNION
    SELECT t.id FROM convostore.relationship AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.group_id = :group_id
),
edges AS (
    DELETE FROM convostore.relationship AS t
    USING incident AS i
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = i.id
    RETURNING t.id
)
SELECT (SELECT count(*) FROM episodes) + (SELECT count(*) FROM entities) + (SELECT count(*) FROM edges)

-- name: delete_by_customer
-- Delete a customer's episodes, entities and relationships incident to these; return their number.
WITH {{bound}},
episodes AS (
    DELETE FROM convostore.episode AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.customer_profile_id = :customer_profile_id
    RETURNING t.id
),
entities AS (
    DELETE FROM convostore.entity AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.customer_profile_id = :customer_profile_id
    RETURNING t.id
),
incident AS MATERIALIZED (
    SELECT t.id
    FROM entities AS e JOIN convostore.relationship AS t ON t.tenant_id = :tenant_id AND t.from_entity_id = e.id
    WHERE (TABLE bound)
    UNION
    SELECT t.id
    FROM entities AS e JOIN convostore.relationship AS t ON t.tenant_id = :tenant_id AND t.to_entity_id = e.id
    WHERE (TABLE bound)
),
edges AS (
    DELETE FROM convostore.relationship AS t
    USING incident AS i
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = i.id
    RETURNING t.id
)
SELECT (SELECT count(*) FROM episodes) + (SELECT count(*) FROM entities) + (SELECT count(*) FROM edges)
