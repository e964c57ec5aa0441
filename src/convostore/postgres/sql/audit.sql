-- Audit: what is recorded, the records with their bodies, and what is left without a record.

-- name: record
-- Add items to the ends of their chains, all or none, unless they are there; return how many were added.
SELECT convostore.record_audit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) WHERE {{gate}}

-- name: create_months
-- Make the partitions of the month of a moment, and of some months after it, that are not there; count them.
SELECT convostore.create_audit_months($1, $2)

-- name: drop_months
-- Drop the partitions of the months that were over at a moment; return these months.
SELECT convostore.drop_audit_months($1)

-- name: body
-- The body of one turn or event, from the one partition that its record names.
SELECT b.tenant_id, b.content
FROM convostore.audit_record AS r
JOIN convostore.audit_body AS b
    ON b.tenant_id = $1 AND b.kind = r.kind AND b.record_id = r.record_id AND b.recorded_at = r.recorded_at
WHERE {{gate}} AND r.tenant_id = $1 AND r.kind = $2 AND r.record_id = $3

-- name: turns_of_session
-- The bodies of a session's turns by number, after one of them.
SELECT b.tenant_id, b.content
FROM convostore.audit_record AS r
JOIN convostore.audit_body AS b
    ON b.tenant_id = $1 AND b.kind = r.kind AND b.record_id = r.record_id AND b.recorded_at = r.recorded_at
WHERE {{gate}} AND r.tenant_id = $1 AND r.session_id = $2 AND r.turn_number > $3
ORDER BY r.turn_number
LIMIT $4::bigint OFFSET $5::bigint

-- name: records
-- Records with their bodies: of the tenant's own chain after $2, of sessions up to $5 after ($3, $4).
SELECT r.*, b.content, b.session_id AS filed_session_id, b.turn_id, b.event_type, b."timestamp",
       convostore.audit_body_dropped(r.recorded_at) AS dropped
FROM (
    SELECT page.*
    FROM (
        (SELECT t.* FROM convostore.audit_record AS t
         WHERE {{gate}} AND t.tenant_id = $1 AND t.session_id IS NULL AND t.sequence > $2
         ORDER BY t.sequence LIMIT $6::bigint + $7::bigint)
        UNION ALL
        (SELECT t.* FROM convostore.audit_record AS t
         WHERE {{gate}} AND t.tenant_id = $1 AND (t.session_id, t.sequence) > ($3, $4) AND t.session_id <= $5
         ORDER BY t.session_id, t.sequence LIMIT $6::bigint + $7::bigint)
    ) AS page
    ORDER BY page.session_id NULLS FIRST, page.sequence
    LIMIT $6::bigint OFFSET $7::bigint
) AS r
LEFT JOIN convostore.audit_body AS b
    ON b.tenant_id = $1 AND b.kind = r.kind AND b.record_id = r.record_id AND b.recorded_at = r.recorded_at
WHERE {{gate}}
ORDER BY r.session_id NULLS FIRST, r.sequence

-- name: remnant
-- The first record that a head tells of and that is not there, of $2 or any chain; without $2, a body without its record.
SELECT found.*
FROM (
    (SELECT 'missing' AS reason, nullif(h.chain, '')::uuid AS session_id, h.last + 1 AS sequence,
            NULL AS kind, NULL::uuid AS record_id
     FROM (
         SELECT h.*, coalesce(
             CASE h.chain
                 WHEN '' THEN (
                     SELECT max(r.sequence) FROM convostore.audit_record AS r
                     WHERE {{gate}} AND r.tenant_id = $1 AND r.session_id IS NULL)
                 ELSE (
                     SELECT max(r.sequence) FROM convostore.audit_record AS r
                     WHERE {{gate}} AND r.tenant_id = $1 AND r.session_id = h.chain::uuid)
             END, 0) AS last
         FROM convostore.audit_head AS h
         WHERE {{gate}} AND h.tenant_id = $1 AND ($2::text IS NULL OR h.chain = $2)
     ) AS h
     WHERE h.sequence > h.last
     LIMIT 1)
    UNION ALL
    (SELECT 'unrecorded', b.session_id, NULL, b.kind, b.record_id
     FROM convostore.audit_body AS b
     WHERE {{gate}} AND b.tenant_id = $1 AND $2::text IS NULL
       AND NOT EXISTS (
           SELECT FROM convostore.audit_record AS r
           WHERE {{gate}} AND r.tenant_id = $1 AND r.kind = b.kind AND r.record_id = b.record_id
             AND r.recorded_at = b.recorded_at)
     LIMIT 1)
) AS found
LIMIT 1
