#!lua flags=allow-oom
-- Demote a session by compare-and-set: replace codec and payload, if header and codec are those that were read.
-- A full server does it: the compressed value is smaller.
--
-- KEYS[1]  the value's key; the index key shares its hash tag
-- ARGV[1]  prefix of the bucket's keys
-- ARGV[2]  session id
-- ARGV[3]  the header that was read
-- ARGV[4]  the codec that was read
-- ARGV[5]  codec and payload to store
-- ARGV[6]  score: its last activity
--
-- Returns 1 if the session moved, 0 if it was saved, moved or deleted since it was read.

-- While a slot migrates, both nodes refuse a command on several keys of which one is absent, and 'moving' always is:
-- the script is refused before it changes anything.
local is_stable = type(redis.pcall('EXISTS', KEYS[1], ARGV[1] .. 'moving')) == 'number'
if not is_stable then return redis.error_reply('TRYAGAIN the slot is moving') end

local before = ARGV[3] .. '\n' .. ARGV[4]
if redis.pcall('GETRANGE', KEYS[1], 0, #before - 1) ~= before then return 0 end
redis.call('ZADD', ARGV[1] .. 'cold', ARGV[6], ARGV[2])
redis.call('ZREM', ARGV[1] .. 'hot', ARGV[2])
redis.call('SET', KEYS[1], ARGV[3] .. '\n' .. ARGV[5])
return 1
