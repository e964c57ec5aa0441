#!lua
-- Save a session with optimistic concurrency: value, new index entries and removal of the previous ones, atomically.
--
-- KEYS[1]  the value's key; the index keys share its hash tag: they are the bucket's prefix and a name from a header
-- ARGV[1]  prefix of the bucket's keys
-- ARGV[2]  session id
-- ARGV[3]  expected revision, 0 for a new session
-- ARGV[4]  "1" to ignore the stored revision
-- ARGV[5]  tenant
-- ARGV[6]  write id, which makes retries idempotent: a save that finds its own write id stored succeeds
-- ARGV[7]  now, in microseconds
-- ARGV[8]  channel key, state and indexes, as in the header
-- ARGV[9]  codec and payload
-- ARGV[10] fencing token of the caller's lock, or ""
-- ARGV[11] until when it may be saved, in microseconds since 1970, or ""
--
-- Returns {verdict, previous header or "", stored header or ""}; the verdict is "saved", "stale" (another revision),
-- "foreign" (another tenant's id), "fenced" (a later lock exists), "late" or "unreadable" (the stored header is damaged).

-- While a slot migrates, both nodes refuse a command on several keys of which one is absent, and 'moving' always is:
-- the script is refused before it changes anything.
local is_stable = type(redis.pcall('EXISTS', KEYS[1], ARGV[1] .. 'moving')) == 'number'
if not is_stable then return redis.error_reply('TRYAGAIN the slot is moving') end

local function split(line)
    local fields = {}
    for field in string.gmatch(line .. '|', '([^|]*)|') do fields[#fields + 1] = field end
    return fields
end

local stored = redis.pcall('GETRANGE', KEYS[1], 0, 1023)
if type(stored) ~= 'string' then return {'unreadable', '', ''} end
local line, old = '', nil
if stored ~= '' then
    line = string.match(stored, '^[^\n]*')
    if not string.match(line, '^1|%d+|[%x-]+|[%x-]+|%-?%d+|%-?%d+|convostore:{%x+}:|%a+|agent:') then
        return {'unreadable', '', ''}
    end
    old = split(line)
    if old[3] ~= ARGV[5] then return {'foreign', '', ''} end
    if old[4] == ARGV[6] then return {'saved', line, line} end
    if ARGV[10] ~= '' then
        local fence = redis.call('GET', ARGV[1] .. 'fence:' .. ARGV[2])
        if fence and tonumber(fence) > tonumber(ARGV[10]) then return {'fenced', line, ''} end
    end
    if ARGV[4] ~= '1' and old[2] ~= ARGV[3] then return {'stale', line, ''} end
elseif ARGV[3] ~= '0' and ARGV[4] ~= '1' then
    return {'stale', '', ''}
end
if ARGV[11] ~= '' then
    local time = redis.call('TIME')
    if tonumber(time[1]) * 1000000 + tonumber(time[2]) > tonumber(ARGV[11]) then return {'late', line, ''} end
end

local score = string.format('%.0f', -tonumber(ARGV[7]))
local revision = string.format('%.0f', (old and tonumber(old[2]) or 0) + 1)
local created = old and old[5] or ARGV[7]
local header = table.concat({'1', revision, ARGV[5], ARGV[6], created, score, ARGV[8]}, '|')

if old then
    for at = 9, #old do
        redis.call('ZREM', ARGV[1] .. old[at], ARGV[2])
    end
end
local new = split(header)
for at = 9, #new do
    redis.call('ZADD', ARGV[1] .. new[at], score, ARGV[2])
end
redis.call('ZADD', ARGV[1] .. 'hot', score, ARGV[2])
redis.call('ZREM', ARGV[1] .. 'cold', ARGV[2])
redis.call('SET', KEYS[1], header .. '\n' .. ARGV[9])
return {'saved', line, header}
