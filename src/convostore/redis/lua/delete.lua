#!lua flags=allow-oom
-- Delete a session: its value, its entries in the indexes of its bucket, its lock.
-- A damaged header does not name the indexes: lists remove the entries of sessions that do not exist (forget.lua).
--
-- KEYS[1]  the value's key; the index keys share its hash tag
-- ARGV[1]  prefix of the bucket's keys
-- ARGV[2]  session id
-- ARGV[3]  tenant whose session it must be, or ""
-- ARGV[4]  delete it only if its score in the index of its tier is higher than this, or ""
--
-- Returns {verdict, the header that was stored or ""}; the verdict is "deleted", "missing" (or another tenant's, or more
-- recent) or "unreadable" (nothing was deleted, because the header does not say whose session it is).

-- While a slot migrates, both nodes refuse a command on several keys of which one is absent, and 'moving' always is:
-- the script is refused before it changes anything.
local is_stable = type(redis.pcall('EXISTS', KEYS[1], ARGV[1] .. 'moving')) == 'number'
if not is_stable then return redis.error_reply('TRYAGAIN the slot is moving') end

local hot, cold = ARGV[1] .. 'hot', ARGV[1] .. 'cold'
if ARGV[4] ~= '' then
    local score = redis.call('ZSCORE', hot, ARGV[2]) or redis.call('ZSCORE', cold, ARGV[2])
    if not score or tonumber(score) <= tonumber(ARGV[4]) then return {'missing', ''} end
end
local exists = redis.call('EXISTS', KEYS[1]) == 1
local stored = redis.pcall('GETRANGE', KEYS[1], 0, 1023)
if not exists then
    if ARGV[4] ~= '' then
        redis.call('ZREM', hot, ARGV[2])
        redis.call('ZREM', cold, ARGV[2])
    end
    return {'missing', ''}
end
local line = type(stored) == 'string' and string.match(stored, '^[^\n]*') or ''
if not string.match(line, '^1|%d+|[%x-]+|[%x-]+|%-?%d+|%-?%d+|convostore:{%x+}:|%a+|agent:') then line = '' end
local fields = {}
for field in string.gmatch(line .. '|', '([^|]*)|') do fields[#fields + 1] = field end
if ARGV[3] ~= '' then
    if line == '' then return {'unreadable', ''} end
    if fields[3] ~= ARGV[3] then return {'missing', ''} end
end
for at = 9, #fields do
    redis.pcall('ZREM', ARGV[1] .. fields[at], ARGV[2])
end
redis.pcall('ZREM', hot, ARGV[2])
redis.pcall('ZREM', cold, ARGV[2])
redis.call('DEL', KEYS[1], ARGV[1] .. 'lock:' .. ARGV[2], ARGV[1] .. 'fence:' .. ARGV[2])
return {'deleted', line}
