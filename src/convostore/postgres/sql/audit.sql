-- The audit trail: appending, records with their bodies, heads and body keys for verification, partitions.

-- name: record
-- Append an item to its chain unless it exists; return how many were appended.
SELECT convostore.record_audit_item(
    :tenant_id, :kind, :recorded_at, :record_id, :session_id, :turn_number, :turn_id, :customer_profile_id,
    :event_type, :timestamp, :content)
WHERE {{bind_tenant}}

-- name: record_all
-- The same for several items, all or none; each parameter that is a column of theirs is an array.
SELECT convostore.record_audit(
    :tenant_id, :kind, :recorded_at, :record_id, :session_id, :turn_number, :turn_id, :customer_profile_id,
    :event_type, :timestamp, :content)
WHERE {{bind_tenant}}

-- name: record_each
-- The same for turns and events, by chain, and in a chain in their order.
SELECT convostore.record_audit_item(
    :tenant_id, r.kind, :recorded_at, r.record_id, r.session_id, r.turn_number, r.turn_id, r.customer_profile_id,
    r.event_type, r."timestamp", r.content) AS appended
FROM (
    SELECT g.* FROM unnest(
        :kind::text[], :record_id::uuid[], :session_id::uuid[], :turn_number::bigint[], :turn_id::uuid[],
        :customer_profile_id::uuid[], :event_type::text[], :timestamp::timestamptz[], :content::bytea[]
    ) WITH ORDINALITY AS g (
        kind, record_id, session_id, turn_number, turn_id, customer_profile_id, event_type, "timestamp", content, place)
    ORDER BY coalesce(g.session_id::text, '') COLLATE "C", g.place
    OFFSET 0
) AS r
WHERE {{bind_tenant}}

-- name: create_months
-- Create the missing partitions for the month of a moment and some months ahead; return how many.
SELECT convostore.create_audit_months(:moment, :months_ahead)

-- name: drop_months
-- Drop the partitions of months that ended before a moment; return these months.
SELECT convostore.drop_audit_months(:before)

-- name: body
-- The body of one turn or event, read from the partition of its record's month.
WITH {{bound}}
SELECT r.tenant_id, r.record_id, b.content
FROM convostore.audit_record AS r
CROSS JOIN LATERAL (
    SELECT t.content FROM convostore.audit_body AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.kind = r.kind AND t.record_id = r.record_id
      AND t.recorded_at = r.recorded_at
    OFFSET 0) AS b
WHERE (TABLE bound) AND r.tenant_id = :tenant_id AND r.kind = :kind AND r.record_id = :record_id

-- name: turns_of_session
-- The bodies of a session's turns by number, after a cursor; OFFSET 0 forces one lookup per body, in its partition.
WITH {{bound}}
SELECT r.tenant_id, r.record_id, r.turn_number, b.content
FROM convostore.audit_record AS r
CROSS JOIN LATERAL (
    SELECT t.content FROM convostore.audit_body AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.kind = r.kind AND t.record_id = r.record_id
      AND t.recorded_at = r.recorded_at
    OFFSET 0) AS b
WHERE (TABLE bound) AND r.tenant_id = :tenant_id AND r.session_id = :session_id AND r.turn_number > :after_number
ORDER BY r.turn_number
LIMIT :limit::bigint OFFSET :offset::bigint

-- name: records
-- Records with their bodies, after a cursor: the chain without session first, then sessions up to a last one.
WITH {{bound}}
SELECT r.*, b.content, b.session_id AS filed_session_id, b.turn_id, b.customer_profile_id, b.event_type, b."timestamp",
       convostore.audit_body_dropped(r.recorded_at, b.content IS NULL) AS dropped
FROM (
    SELECT page.*
    FROM (
        (SELECT t.* FROM convostore.audit_record AS t
         WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.session_id IS NULL AND t.sequence > :after_own
         ORDER BY t.session_id, t.sequence LIMIT :limit::bigint + :offset::bigint)
        UNION ALL
        (SELECT t.* FROM convostore.audit_record AS t
         WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.session_id <= :last_session
           AND (t.session_id, t.sequence) > (:after_session, :after_sequence)
         ORDER BY t.session_id, t.sequence LIMIT :limit::bigint + :offset::bigint)
    ) AS page
    ORDER BY page.session_id NULLS FIRST, page.sequence
    LIMIT :limit::bigint OFFSET :offset::bigint
) AS r
LEFT JOIN LATERAL (
    SELECT t.content, t.session_id, t.turn_id, t.customer_profile_id, t.event_type, t."timestamp"
    FROM convostore.audit_body AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.kind = r.kind AND t.record_id = r.record_id
      AND t.recorded_at = r.recorded_at
    OFFSET 0) AS b ON true
ORDER BY r.session_id NULLS FIRST, r.sequence

-- name: heads
-- The heads of a range of chains after a cursor, each with its chain's last record; a chain may lack either.
WITH RECURSIVE {{bound}},
recorded (session_id) AS (
    (SELECT r.session_id FROM convostore.audit_record AS r
     WHERE (TABLE bound) AND r.tenant_id = :tenant_id AND r.session_id >= :first_session
     ORDER BY r.session_id LIMIT 1)
    UNION ALL
    -- One index lookup per chain, however many records it has.
    SELECT (
        SELECT r.session_id FROM convostore.audit_record AS r
        WHERE (TABLE bound) AND r.tenant_id = :tenant_id AND r.session_id > recorded.session_id
        ORDER BY r.session_id LIMIT 1)
    FROM recorded
    WHERE recorded.session_id < :last_session
),
page AS (
    SELECT known.chain
    FROM (
        SELECT '' COLLATE "C" AS chain
        WHERE :with_own::boolean AND (
            SELECT r.sequence FROM convostore.audit_record AS r
            WHERE (TABLE bound) AND r.tenant_id = :tenant_id AND r.session_id IS NULL
            ORDER BY r.session_id, r.sequence LIMIT 1) IS NOT NULL
        UNION
        SELECT h.chain FROM convostore.audit_head AS h
        WHERE (TABLE bound) AND h.tenant_id = :tenant_id AND h.chain = '' AND :with_own
        UNION
        (SELECT recorded.session_id::text COLLATE "C" FROM recorded
         WHERE recorded.session_id <= :last_session AND recorded.session_id IS DISTINCT FROM :after_session::uuid
         LIMIT :limit::bigint + :offset::bigint)
        UNION
        (SELECT h.chain FROM convostore.audit_head AS h
         WHERE (TABLE bound) AND h.tenant_id = :tenant_id
           AND h.chain BETWEEN :first_session::uuid::text AND :last_session::uuid::text
           AND h.chain IS DISTINCT FROM :after_session::text
         ORDER BY h.chain LIMIT :limit::bigint + :offset::bigint)
    ) AS known
    ORDER BY known.chain
    LIMIT :limit::bigint OFFSET :offset::bigint
)
SELECT :tenant_id::uuid AS tenant_id, nullif(page.chain, '')::uuid AS session_id,
       coalesce(head.sequence, 0) AS sequence, encode(head.hash, 'hex') AS hash,
       coalesce(last.sequence, 0) AS recorded, encode(last.hash, 'hex') AS recorded_hash
FROM page
LEFT JOIN LATERAL (
    SELECT h.sequence, h.hash FROM convostore.audit_head AS h
    WHERE (TABLE bound) AND h.tenant_id = :tenant_id AND h.chain = page.chain
    OFFSET 0) AS head ON true
LEFT JOIN LATERAL (
    (SELECT r.sequence, r.hash FROM convostore.audit_record AS r
     WHERE (TABLE bound) AND r.tenant_id = :tenant_id AND r.session_id IS NULL AND page.chain = ''
     ORDER BY r.session_id DESC, r.sequence DESC LIMIT 1)
    UNION ALL
    (SELECT r.sequence, r.hash FROM convostore.audit_record AS r
     WHERE (TABLE bound) AND r.tenant_id = :tenant_id AND r.session_id = nullif(page.chain, '')::uuid
     ORDER BY r.sequence DESC LIMIT 1)) AS last ON true
ORDER BY page.chain

-- name: bodies
-- The keys of bodies after a cursor, and whether each has its record.
WITH {{bound}}
SELECT b.tenant_id, b.kind, b.record_id, b.recorded_at, b.session_id,
       (SELECT r.record_id FROM convostore.audit_record AS r
        WHERE (TABLE bound) AND r.tenant_id = :tenant_id AND r.kind = b.kind AND r.record_id = b.record_id
          AND r.recorded_at = b.recorded_at) IS NOT NULL AS recorded
FROM convostore.audit_body AS b
WHERE (TABLE bound) AND b.tenant_id = :tenant_id
  AND (b.kind, b.record_id, b.recorded_at) > (:after_kind, :after_id, :after_recorded_at)
ORDER BY b.kind, b.record_id, b.recorded_at
LIMIT :limit::bigint OFFSET :offset::bigint
