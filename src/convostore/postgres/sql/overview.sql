-- What an operator asks for across the stores: tenants, locks, numbers of rows and sizes of tables.

-- name: login
-- The user of the connection, whatever role it has taken.
SELECT session_user::text

-- name: tenants
-- The tenants with anything, by id, after one of them.
SELECT tenant_id FROM convostore.tenants(:after::uuid, :limit)

-- name: locks
-- Which of a tenant's sessions with these ids are locked, under which fencing token, and until when.
SELECT t.session_id, t.fence, t.locked_until
FROM convostore.session AS t
WHERE {{bind_tenant}} AND t.tenant_id = :tenant_id AND t.session_id = ANY (:session_ids::uuid[])
  AND t.locked_until > clock_timestamp()

-- name: rows
-- How many rows a tenant has in each table, deleted ones that are not purged included.
WITH {{bound}}
SELECT
{{each declared}}
    (SELECT count(*) FROM convostore.{{each}} AS t WHERE (TABLE bound) AND t.tenant_id = :tenant_id) AS {{each}}
{{end}},
    (SELECT count(*) FROM convostore.episode_embedding AS t WHERE (TABLE bound) AND t.tenant_id = :tenant_id) AS episode_embedding,
    (SELECT count(*) FROM convostore.large_space AS t WHERE (TABLE bound) AND t.tenant_id = :tenant_id) AS large_space,
    (SELECT count(*) FROM convostore.session_identity AS t WHERE (TABLE bound) AND t.tenant_id = :tenant_id) AS session_identity,
    (SELECT count(*) FROM convostore.copy_generation AS t WHERE (TABLE bound) AND t.tenant_id = :tenant_id) AS copy_generation,
    (SELECT count(*) FROM convostore.profile AS t WHERE (TABLE bound) AND t.tenant_id = :tenant_id) AS profile,
    (SELECT count(*) FROM convostore.channel_identity AS t WHERE (TABLE bound) AND t.tenant_id = :tenant_id) AS channel_identity,
    (SELECT count(*) FROM convostore.profile_field AS t WHERE (TABLE bound) AND t.tenant_id = :tenant_id) AS profile_field,
    (SELECT count(*) FROM convostore.profile_asset AS t WHERE (TABLE bound) AND t.tenant_id = :tenant_id) AS profile_asset,
    (SELECT count(*) FROM convostore.profile_merge AS t WHERE (TABLE bound) AND t.tenant_id = :tenant_id) AS profile_merge,
    (SELECT count(*) FROM convostore.audit_record AS t WHERE (TABLE bound) AND t.tenant_id = :tenant_id) AS audit_record,
    (SELECT count(*) FROM convostore.audit_head AS t WHERE (TABLE bound) AND t.tenant_id = :tenant_id) AS audit_head,
    (SELECT count(*) FROM convostore.audit_body AS t WHERE (TABLE bound) AND t.tenant_id = :tenant_id) AS audit_body

-- name: sizes
-- Rows as the planner estimates them and bytes on disk, a table with its partitions; large spaces by their prefix as one.
SELECT CASE WHEN starts_with(c.relname, 'large_space_') THEN 'large_space'
            ELSE (SELECT r.relname FROM pg_catalog.pg_class AS r WHERE r.oid = coalesce(pg_partition_root(c.oid), c.oid))
       END AS table,
    sum(nullif(c.reltuples, -1))::bigint AS rows,
    sum(pg_table_size(c.oid))::bigint AS data, sum(pg_indexes_size(c.oid))::bigint AS indexes
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'convostore'::regnamespace AND c.relkind = 'r'
  AND (NOT starts_with(c.relname, 'large_space_') OR starts_with(c.relname, :large_spaces))
GROUP BY 1
ORDER BY 1
