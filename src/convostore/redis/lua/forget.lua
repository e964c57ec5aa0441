#!lua flags=allow-oom
-- Remove a session that does not exist from indexes, in which a damaged header or a removed value has left it.
--
-- KEYS[1]  the value's key; the index keys share its hash tag
-- ARGV[1]  prefix of the bucket's keys
-- ARGV[2]  session id
-- ARGV[3]  the indexes' names within the bucket, separated by |
--
-- Returns how many indexes it was removed from.

-- While a slot migrates, both nodes refuse a command on several keys of which one is absent, and 'moving' always is:
-- the script is refused before it changes anything.
local is_stable = type(redis.pcall('EXISTS', KEYS[1], ARGV[1] .. 'moving')) == 'number'
if not is_stable then return redis.error_reply('TRYAGAIN the slot is moving') end

if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local removed = 0
for name in string.gmatch(ARGV[3], '[^|]+') do
    local found = redis.pcall('ZREM', ARGV[1] .. name, ARGV[2])
    if type(found) == 'number' then removed = removed + found end
end
return removed
