-- Memory: searches, the graph, and what is forgotten together.

-- name: text_search_episodes
-- An agent's episodes of one language that match a web search query, best first.
SELECT {{columns of episode}}
FROM convostore.matching_episodes(
    :tenant_id, :agent_id, :query, :language, :prefix, :customer_profile_id, :session_id, :group_id, :content_type,
    :since, :until, :as_of, :limit::bigint + :offset::bigint) AS m
JOIN convostore.episode AS t ON t.tenant_id = :tenant_id AND t.id = m.id
WHERE {{bind_tenant}}
ORDER BY m.rank DESC, t.id
LIMIT :limit::bigint OFFSET :offset::bigint

-- name: nearest_entities
-- An agent's entities nearest to a vector with their scores, best first; only those of its dimension are compared.
SELECT {{columns of entity}}, t.score
FROM (
    SELECT t.*, convostore.similarity(t.embedding, :embedding) AS score
    FROM convostore.entity AS t
    WHERE {{bind_tenant}} AND t.tenant_id = :tenant_id AND t.agent_id = :agent_id AND t.embedding IS NOT NULL
      AND (:name::text IS NULL OR t.name = :name) AND (:entity_type::text IS NULL OR t.entity_type = :entity_type)
      AND (:customer_profile_id::uuid IS NULL OR t.customer_profile_id = :customer_profile_id)
      AND (:embedding_model::text IS NULL OR t.embedding_model = :embedding_model)
      AND (:as_of::timestamptz IS NULL OR (t.valid_from <= :as_of AND (t.valid_to IS NULL OR t.valid_to > :as_of)))
) AS t
WHERE t.score >= :min_score::double precision
ORDER BY t.score DESC, t.id
LIMIT :limit OFFSET :offset

-- name: walk
-- The relationships within reach of entities along valid edges both ways, nearest first; on request their ends too.
WITH RECURSIVE {{bound}},
walk (depth, edges, frontier, behind) AS (
    SELECT 0, '{}'::uuid[], ARRAY(SELECT DISTINCT unnest(:entity_ids::uuid[])), '{}'::uuid[] WHERE (TABLE bound)
    UNION ALL
    SELECT walk.depth + 1, step.edges, step.frontier, walk.frontier
    FROM walk
    CROSS JOIN LATERAL (
        WITH touching AS MATERIALIZED (
            SELECT edge.id, edge.other
            FROM unnest(walk.frontier) AS start (id)
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
        -- Breadth first, an edge from here leads one level back, stays, or leads one on: nothing else can be known yet.
        SELECT ARRAY(SELECT id FROM touching EXCEPT SELECT unnest(walk.edges)) AS edges,
               ARRAY(SELECT other FROM touching EXCEPT SELECT unnest(walk.frontier || walk.behind)) AS frontier
    ) AS step
    WHERE walk.depth < :max_depth::integer AND walk.frontier <> '{}'
)
-- OFFSET 0 keeps the planner, which cannot know how many there will be, from reading the whole table to join it.
SELECT walk.depth, found.recorded_at, found.id, found.item AS relationship, NULL::record AS entity
FROM walk
CROSS JOIN LATERAL (
    SELECT t.recorded_at, t.id, ROW({{columns of relationship}}) AS item FROM convostore.relationship AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = ANY (walk.edges) OFFSET 0
) AS found
UNION ALL
SELECT walk.depth, found.recorded_at, found.id, NULL, found.item
FROM walk
CROSS JOIN LATERAL (
    SELECT t.recorded_at, t.id, ROW({{columns of entity}}) AS item FROM convostore.entity AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = ANY (walk.frontier) AND :with_entities::boolean OFFSET 0
) AS found
ORDER BY 1, 2, 3

-- name: invalidate_relationship
-- End a relationship at a moment, if it has not ended by then; return whether it is there.
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
-- Delete an entity and the relationships that touch it; return how many entities that were.
WITH {{bound}},
edges AS (
    DELETE FROM convostore.relationship AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND (t.from_entity_id = :entity_id OR t.to_entity_id = :entity_id)
    RETURNING t.id
),
entities AS (
    DELETE FROM convostore.entity AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.id = :entity_id
    RETURNING t.id
)
SELECT count(*) FROM entities

-- name: delete_by_group
-- Delete a group's episodes, entities and relationships, and the relationships that touch its entities; count them.
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
gone AS MATERIALIZED (SELECT array_agg(id) AS ids FROM entities),
edges AS (
    DELETE FROM convostore.relationship AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id
      AND (t.group_id = :group_id OR t.from_entity_id = ANY ((TABLE gone)::uuid[])
           OR t.to_entity_id = ANY ((TABLE gone)::uuid[]))
    RETURNING t.id
)
SELECT (SELECT count(*) FROM episodes) + (SELECT count(*) FROM entities) + (SELECT count(*) FROM edges)

-- name: delete_by_customer
-- Delete a customer's episodes and entities, and the relationships that touch those entities; count them.
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
gone AS MATERIALIZED (SELECT array_agg(id) AS ids FROM entities),
edges AS (
    DELETE FROM convostore.relationship AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id
      AND (t.from_entity_id = ANY ((TABLE gone)::uuid[]) OR t.to_entity_id = ANY ((TABLE gone)::uuid[]))
    RETURNING t.id
)
SELECT (SELECT count(*) FROM episodes) + (SELECT count(*) FROM entities) + (SELECT count(*) FROM edges)
