#!lua flags=allow-oom
-- Evict a session's hot copy; guards stay.
--
-- KEYS[1]  the copy: C|revision|tenant|…
-- ARGV[1]  the tenant whose session it must be, or "" for any
--
-- Returns 1 if there was a copy, else 0.

local head = redis.pcall('GETRANGE', KEYS[1], 0, 127)
local tenant = type(head) == 'string' and string.match(head, '^C|%d+|([^|]*)|')
if not tenant or (ARGV[1] ~= '' and tenant ~= ARGV[1]) then return 0 end
return redis.call('DEL', KEYS[1])
