#!lua
-- Delete a session: its value, its entries in the indexes of its bucket, its lock.
--
-- KEYS[1]  the value's key; the index keys share its hash tag
-- ARGV[1]  prefix of the bucket's keys
-- ARGV[2]  session id
-- ARGV[3]  tenant whose session it must be, or ""
-- ARGV[4]  the header that must be stored (compare-and-delete), or ""
--
-- Returns the header that was stored, or "" if there was no such session.

-- While a slot migrates, both nodes refuse a command on several keys of which one is absent, and 'moving' always is:
-- the script is refused before it changes anything.
local is_stable = type(redis.pcall('EXISTS', KEYS[1], ARGV[1] .. 'moving')) == 'number'
if not is_stable then return redis.error_reply('TRYAGAIN the slot is moving') end

local stored = redis.call('GETRANGE', KEYS[1], 0, 1023)
if stored == '' then return '' end
local line = string.match(stored, '^[^\n]*')
local fields = {}
for field in string.gmatch(line .. '|', '([^|]*)|') do fields[#fields + 1] = field end
if ARGV[3] ~= '' and fields[3] ~= ARGV[3] then return '' end
if ARGV[4] ~= '' and line ~= ARGV[4] then return '' end
for at = 9, #fields do
    local key = ARGV[1] .. fields[at]
    if string.sub(fields[at], 1, 5) == 'step:' then
        redis.call('SREM', key, ARGV[2])
    else
        redis.call('ZREM', key, ARGV[2])
    end
end
redis.call('ZREM', ARGV[1] .. 'hot', ARGV[2])
redis.call('ZREM', ARGV[1] .. 'cold', ARGV[2])
redis.call('DEL', KEYS[1], ARGV[1] .. 'lock:' .. ARGV[2], ARGV[1] .. 'fence:' .. ARGV[2])
return line
