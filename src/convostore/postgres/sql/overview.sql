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
