#!lua flags=allow-oom
-- Return a session's copy to its tenant. It writes nothing, but may: replicas refuse it, and so do primaries that have
-- too few replicas. Of another tenant's copy only the head is read, as of a copy that is missing.
--
-- KEYS[1]  the copy: C|revision|tenant|…
-- ARGV[1]  the tenant
--
-- Returns the copy, or nil.

local head = redis.pcall('GETRANGE', KEYS[1], 0, 127)
if type(head) ~= 'string' or string.match(head, '^C|%d+|([^|]*)|') ~= ARGV[1] then return false end
return redis.call('GET', KEYS[1])
