#!lua flags=allow-oom
-- Release a session's lock if an owner holds it.
--
-- KEYS[1]  the session's value; the lock's key shares its hash tag
-- ARGV[1]  prefix of the bucket's keys
-- ARGV[2]  session id
-- ARGV[3]  owner
-- ARGV[4]  tenant whose session it must be, or ""
--
-- Returns 1 if the owner held it, else 0.

-- While a slot migrates, both nodes refuse a command on several keys of which one is absent, and 'moving' always is:
-- the script is refused before it changes anything.
local is_stable = type(redis.pcall('EXISTS', KEYS[1], ARGV[1] .. 'moving')) == 'number'
if not is_stable then return redis.error_reply('TRYAGAIN the slot is moving') end

local stored = redis.pcall('GETRANGE', KEYS[1], 0, 255)
-- A damaged value does not say whose session it is; the owner does.
local tenant = type(stored) == 'string' and string.match(stored, '^1|%d+|([^|]*)|')
local lock = ARGV[1] .. 'lock:' .. ARGV[2]
-- Read in any case, so that another tenant's session costs what an unknown one does.
local owner = redis.call('GET', lock)
if ARGV[4] ~= '' and tenant and tenant ~= ARGV[4] then return 0 end
if owner ~= ARGV[3] then return 0 end
return redis.call('DEL', lock)
