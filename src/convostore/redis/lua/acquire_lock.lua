#!lua
-- Acquire a session's lock for an owner, or renew it, unless another owner holds it.
--
-- KEYS[1]  the session's value; the keys of the lock and of the fencing token share its hash tag
-- ARGV[1]  prefix of the bucket's keys
-- ARGV[2]  session id
-- ARGV[3]  owner
-- ARGV[4]  time to live, in milliseconds
-- ARGV[5]  tenant whose session it must be, or ""
--
-- Returns the fencing token, 0 while another owner holds the lock, -1 if there is no such session, or -2 if its
-- value cannot be read.

-- While a slot migrates, both nodes refuse a command on several keys of which one is absent, and 'moving' always is:
-- the script is refused before it changes anything.
local is_stable = type(redis.pcall('EXISTS', KEYS[1], ARGV[1] .. 'moving')) == 'number'
if not is_stable then return redis.error_reply('TRYAGAIN the slot is moving') end

local stored = redis.pcall('GETRANGE', KEYS[1], 0, 255)
if type(stored) ~= 'string' then return -2 end
if stored == '' then return -1 end
if not string.match(stored, '^1|%d+|[%x-]+|') then return -2 end
if ARGV[5] ~= '' and string.match(stored, '^[^|]*|[^|]*|([^|]*)|') ~= ARGV[5] then return -1 end
local lock, fence = ARGV[1] .. 'lock:' .. ARGV[2], ARGV[1] .. 'fence:' .. ARGV[2]
local owner = redis.call('GET', lock)
if owner and owner ~= ARGV[3] then return 0 end
redis.call('SET', lock, ARGV[3], 'PX', ARGV[4])
if owner then return tonumber(redis.call('GET', fence)) end
return redis.call('INCR', fence)
