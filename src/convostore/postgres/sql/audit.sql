-- The audit trail: appending, records with their bodies, heads and body keys for verification, partitions.

-- name: record
-- Append items to their chains in one transaction, skipping those that exist; return how many were appended.
SELECT convostore.record_audit(
    :tenant_id, :kind, :recorded_at, :record_ids, :session_ids, :turn_numbers, :turn_ids, :event_types, :timestamps,
    :contents)
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
SELECT r.*, b.content, b.session_id AS filed_session_id, b.turn_id, b.event_type, b."timestamp",
       convostore.audit_body_dropped(r.recorded_at) AS dropped
FROM (
    SELECT page.*
    FROM (
        (SELECT t.* FROM convostore.audit_record AS t
         WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.session_id IS NULL AND t.sequence > :after_own
         ORDER BY t.sequence LIMIT :limit::bigint + :offset::bigint)
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
    SELECT t.content, t.session_id, t.turn_id, t.event_type, t."timestamp" FROM convostore.audit_body AS t
    WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.kind = r.kind AND t.record_id = r.record_id
      AND t.recorded_at = r.recorded_at
    OFFSET 0) AS b ON true
ORDER BY r.session_id NULLS FIRST, r.sequence

-- name: heads
-- The heads of a range of chains, each with the highest sequence among its records.
WITH {{bound}}
SELECT h.tenant_id, nullif(h.chain, '')::uuid AS session_id, h.sequence,
       coalesce(CASE h.chain
           WHEN '' THEN (
               SELECT max(r.sequence) FROM convostore.audit_record AS r
               WHERE (TABLE bound) AND r.tenant_id = :tenant_id AND r.session_id IS NULL)
           ELSE (
               SELECT max(r.sequence) FROM convostore.audit_record AS r
               WHERE (TABLE bound) AND r.tenant_id = :tenant_id AND r.session_id = h.chain::uuid)
       END, 0) AS recorded
FROM convostore.audit_head AS h
WHERE (TABLE bound) AND h.tenant_id = :tenant_id AND h.chain >= :first_chain AND h.chain <= :last_chain
ORDER BY h.chain
LIMIT :limit::bigint OFFSET :offset::bigint

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
