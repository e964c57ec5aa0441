#!lua
-- Remove a session's hot copy, but not a fence.
--
-- KEYS[1]  the copy
-- ARGV[1]  tenant whose session it must be, or ""
--
-- Returns 1 if there was one, else 0.

local head = redis.pcall('GETRANGE', KEYS[1], 0, 127)
local tenant = type(head) == 'string' and string.match(head, '^C|%d+|([^|]*)|')
if not tenant or (ARGV[1] ~= '' and tenant ~= ARGV[1]) then return 0 end
return redis.call('DEL', KEYS[1])
