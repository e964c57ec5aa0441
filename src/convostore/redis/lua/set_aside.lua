#!lua flags=allow-oom
-- Take a session that cannot be demoted out of the index of hot sessions, so that sweeps do not meet it again: its value
-- is damaged, of another type, missing, or compressed already.
--
-- KEYS[1]  the value's key; the index keys share its hash tag
-- ARGV[1]  prefix of the bucket's keys
-- ARGV[2]  session id
-- ARGV[3]  the first 1,024 bytes of the value that was read; "" if it is missing or of another type
--
-- Returns 1 if it was in the index and its value is as it was read, else 0.

-- While a slot migrates, both nodes refuse a command on several keys of which one is absent, and 'moving' always is:
-- the script is refused before it changes anything.
local is_stable = type(redis.pcall('EXISTS', KEYS[1], ARGV[1] .. 'moving')) == 'number'
if not is_stable then return redis.error_reply('TRYAGAIN the slot is moving') end

local head = redis.pcall('GETRANGE', KEYS[1], 0, 1023)
if type(head) ~= 'string' then head = '' end
if head ~= ARGV[3] then return 0 end
local score = redis.call('ZSCORE', ARGV[1] .. 'hot', ARGV[2])
if not score then return 0 end
redis.call('ZREM', ARGV[1] .. 'hot', ARGV[2])
-- Among the demoted sessions it waits for the end of its life.
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('ZADD', ARGV[1] .. 'cold', score, ARGV[2]) end
return 1
