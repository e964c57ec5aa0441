-- Memory: searches, the graph, and what is forgotten together.

-- name: vector_search_episodes
-- An agent's episodes nearest to a vector with their scores, best first; only those of its dimension are compared.
SELECT {{columns of episode}}, t.score
FROM (
    SELECT t.*, convostore.similarity(t.embedding, $3) AS score
    FROM convostore.episode AS t
    WHERE {{gate}} AND t.tenant_id = $1 AND t.agent_id = $2 AND t.embedding IS NOT NULL
      AND ($4::uuid IS NULL OR t.customer_profile_id = $4) AND ($5::text IS NULL OR t.embedding_model = $5)
) AS t
WHERE t.score >= $6::double precision
ORDER BY t.score DESC, t.id
LIMIT $7 OFFSET $8

-- name: text_search_episodes
-- An agent's episodes of one language that match a web search query, best first.
SELECT {{columns of episode}}
FROM convostore.matching_episodes($1, $2, $3, $4) AS m
JOIN convostore.episode AS t ON t.tenant_id = $1 AND t.id = m.id
WHERE {{gate}}
ORDER BY m.rank DESC, t.id
LIMIT $5 OFFSET $6

-- name: traverse
-- The relationships reached from entities along valid edges in both directions, each once, nearest first.
WITH RECURSIVE context AS MATERIALIZED (SELECT {{gate}} AS ready),
walk (entity_id, depth) AS (
    SELECT start, 0 FROM unnest($2::uuid[]) AS start WHERE (SELECT ready FROM context)
    UNION
    SELECT edge.other, walk.depth + 1
    FROM walk
    CROSS JOIN LATERAL (
        SELECT r.to_entity_id AS other
        FROM convostore.relationship AS r
        WHERE (SELECT ready FROM context) AND r.tenant_id = $1 AND r.from_entity_id = walk.entity_id
          AND r.valid_from <= $4 AND (r.valid_to IS NULL OR r.valid_to > $4) AND ($3::text[] IS NULL OR r.relation_type = ANY ($3))
        UNION ALL
        SELECT r.from_entity_id
        FROM convostore.relationship AS r
        WHERE (SELECT ready FROM context) AND r.tenant_id = $1 AND r.to_entity_id = walk.entity_id
          AND r.valid_from <= $4 AND (r.valid_to IS NULL OR r.valid_to > $4) AND ($3::text[] IS NULL OR r.relation_type = ANY ($3))
    ) AS edge
    WHERE walk.depth < $5::integer - 1
),
reached AS (SELECT entity_id, min(depth) AS depth FROM walk GROUP BY entity_id),
edge AS (
    SELECT touching.id, min(reached.depth) AS depth
    FROM reached
    CROSS JOIN LATERAL (
        SELECT r.id
        FROM convostore.relationship AS r
        WHERE (SELECT ready FROM context) AND r.tenant_id = $1 AND r.from_entity_id = reached.entity_id
          AND r.valid_from <= $4 AND (r.valid_to IS NULL OR r.valid_to > $4) AND ($3::text[] IS NULL OR r.relation_type = ANY ($3))
        UNION ALL
        SELECT r.id
        FROM convostore.relationship AS r
        WHERE (SELECT ready FROM context) AND r.tenant_id = $1 AND r.to_entity_id = reached.entity_id
          AND r.valid_from <= $4 AND (r.valid_to IS NULL OR r.valid_to > $4) AND ($3::text[] IS NULL OR r.relation_type = ANY ($3))
    ) AS touching
    GROUP BY touching.id
)
SELECT {{columns of relationship}}
FROM edge JOIN convostore.relationship AS t ON t.tenant_id = $1 AND t.id = edge.id
WHERE (SELECT ready FROM context)
ORDER BY edge.depth, t.recorded_at, t.id

-- name: delete_entity
-- Delete an entity and the relationships that touch it; return how many entities that were.
WITH context AS MATERIALIZED (SELECT {{gate}} AS ready),
edges AS (
    DELETE FROM convostore.relationship AS t
    WHERE (SELECT ready FROM context) AND t.tenant_id = $1 AND (t.from_entity_id = $2 OR t.to_entity_id = $2)
    RETURNING t.id
),
entities AS (
    DELETE FROM convostore.entity AS t
    WHERE (SELECT ready FROM context) AND t.tenant_id = $1 AND t.id = $2
    RETURNING t.id
)
SELECT count(*) FROM entities

-- name: delete_by_group
-- Delete a group's episodes, entities and relationships, and the relationships that touch its entities; count them.
WITH context AS MATERIALIZED (SELECT {{gate}} AS ready),
episodes AS (
    DELETE FROM convostore.episode AS t
    WHERE (SELECT ready FROM context) AND t.tenant_id = $1 AND t.group_id = $2
    RETURNING t.id
),
entities AS (
    DELETE FROM convostore.entity AS t
    WHERE (SELECT ready FROM context) AND t.tenant_id = $1 AND t.group_id = $2
    RETURNING t.id
),
gone AS MATERIALIZED (SELECT array_agg(id) AS ids FROM entities),
edges AS (
    DELETE FROM convostore.relationship AS t
    WHERE (SELECT ready FROM context) AND t.tenant_id = $1
      AND (t.group_id = $2 OR t.from_entity_id = ANY ((SELECT ids FROM gone)::uuid[])
           OR t.to_entity_id = ANY ((SELECT ids FROM gone)::uuid[]))
    RETURNING t.id
)
SELECT (SELECT count(*) FROM episodes) + (SELECT count(*) FROM entities) + (SELECT count(*) FROM edges)
