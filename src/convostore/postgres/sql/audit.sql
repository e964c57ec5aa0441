-- Audit: what is recorded, the records with their bodies, and what tells of records that are not there.

-- name: record
-- Add items to the ends of their chains, all or none, unless they are there; return how many were added.
SELECT convostore.record_audit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) WHERE {{bind_tenant}}

-- name: create_months
-- Make the partitions of the month of a moment, and of some months after it, that are not there; count them.
SELECT convostore.create_audit_months($1, $2)

-- name: drop_months
-- Drop the partitions of the months that were over at a moment; return these months.
SELECT convostore.drop_audit_months($1)

-- name: body
-- The body of one turn or event, from the one partition that its record names.
WITH {{bound}}
SELECT r.tenant_id, r.record_id, b.content
FROM convostore.audit_record AS r
CROSS JOIN LATERAL (
    SELECT t.content FROM convostore.audit_body AS t
    WHERE (TABLE bound) AND t.tenant_id = $1 AND t.kind = r.kind AND t.record_id = r.record_id AND t.recorded_at = r.recorded_at
    OFFSET 0) AS b
WHERE (TABLE bound) AND r.tenant_id = $1 AND r.kind = $2 AND r.record_id = $3

-- name: turns_of_session
-- The bodies of a session's turns by number, after one of them; OFFSET 0, so that each is looked for in its partition.
WITH {{bound}}
SELECT r.tenant_id, r.record_id, b.content
FROM convostore.audit_record AS r
CROSS JOIN LATERAL (
    SELECT t.content FROM convostore.audit_body AS t
    WHERE (TABLE bound) AND t.tenant_id = $1 AND t.kind = r.kind AND t.record_id = r.record_id AND t.recorded_at = r.recorded_at
    OFFSET 0) AS b
WHERE (TABLE bound) AND r.tenant_id = $1 AND r.session_id = $2 AND r.turn_number > $3
ORDER BY r.turn_number
LIMIT $4::bigint OFFSET $5::bigint

-- name: records
-- Records with their bodies: of the tenant's own chain after $2, of sessions up to $5 after ($3, $4).
WITH {{bound}}
SELECT r.*, b.content, b.session_id AS filed_session_id, b.turn_id, b.event_type, b."timestamp",
       convostore.audit_body_dropped(r.recorded_at) AS dropped
FROM (
    SELECT page.*
    FROM (
        (SELECT t.* FROM convostore.audit_record AS t
         WHERE (TABLE bound) AND t.tenant_id = $1 AND t.session_id IS NULL AND t.sequence > $2
         ORDER BY t.sequence LIMIT $6::bigint + $7::bigint)
        UNION ALL
        (SELECT t.* FROM convostore.audit_record AS t
         WHERE (TABLE bound) AND t.tenant_id = $1 AND (t.session_id, t.sequence) > ($3, $4) AND t.session_id <= $5
         ORDER BY t.session_id, t.sequence LIMIT $6::bigint + $7::bigint)
    ) AS page
    ORDER BY page.session_id NULLS FIRST, page.sequence
    LIMIT $6::bigint OFFSET $7::bigint
) AS r
LEFT JOIN LATERAL (
    SELECT t.content, t.session_id, t.turn_id, t.event_type, t."timestamp" FROM convostore.audit_body AS t
    WHERE (TABLE bound) AND t.tenant_id = $1 AND t.kind = r.kind AND t.record_id = r.record_id AND t.recorded_at = r.recorded_at
    OFFSET 0) AS b ON true
ORDER BY r.session_id NULLS FIRST, r.sequence

-- name: heads
-- What is noted of chains from $2 to $3, and the last record that each has.
WITH {{bound}}
SELECT h.tenant_id, nullif(h.chain, '')::uuid AS session_id, h.sequence,
       coalesce(CASE h.chain
           WHEN '' THEN (
               SELECT max(r.sequence) FROM convostore.audit_record AS r
               WHERE (TABLE bound) AND r.tenant_id = $1 AND r.session_id IS NULL)
           ELSE (
               SELECT max(r.sequence) FROM convostore.audit_record AS r
               WHERE (TABLE bound) AND r.tenant_id = $1 AND r.session_id = h.chain::uuid)
       END, 0) AS recorded
FROM convostore.audit_head AS h
WHERE (TABLE bound) AND h.tenant_id = $1 AND h.chain >= $2 AND h.chain <= $3
ORDER BY h.chain
LIMIT $4::bigint OFFSET $5::bigint

-- name: bodies
-- Where bodies are kept after one of them, and whether each has its record.
WITH {{bound}}
SELECT b.tenant_id, b.kind, b.record_id, b.recorded_at, b.session_id,
       (SELECT r.record_id FROM convostore.audit_record AS r
        WHERE (TABLE bound) AND r.tenant_id = $1 AND r.kind = b.kind AND r.record_id = b.record_id
          AND r.recorded_at = b.recorded_at) IS NOT NULL AS recorded
FROM convostore.audit_body AS b
WHERE (TABLE bound) AND b.tenant_id = $1 AND (b.kind, b.record_id, b.recorded_at) > ($2, $3, $4)
ORDER BY b.kind, b.record_id, b.recorded_at
LIMIT $5::bigint OFFSET $6::bigint
