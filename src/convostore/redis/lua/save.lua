#!lua
-- Save a session: value, indexes and removal of the previous state's entries, if the revision is the expected one.
--
-- KEYS[1]  the value's key; the index keys share its hash tag: they are the bucket's prefix and a name from a header
-- ARGV[1]  prefix of the bucket's keys
-- ARGV[2]  session id
-- ARGV[3]  expected revision, 0 for a new session
-- ARGV[4]  "1" to overwrite whatever revision is stored
-- ARGV[5]  tenant
-- ARGV[6]  write id: a repeated save that finds its own succeeds
-- ARGV[7]  now, in microseconds
-- ARGV[8]  channel key, state and indexes, as they stand in the header
-- ARGV[9]  codec and payload
-- ARGV[10] fencing token of the lock under which the session was worked on, or ""
--
-- Returns {verdict, header as stored before or "", header as stored now or ""}; verdict is "saved", "stale", "taken" or "fenced".

-- While a slot moves key by key, both nodes refuse several keys of which one is absent; this one always is.
local all_here = type(redis.pcall('EXISTS', KEYS[1], ARGV[1] .. 'moving')) == 'number'
if not all_here then return redis.error_reply('TRYAGAIN the slot is moving') end

local function split(line)
    local fields = {}
    for field in string.gmatch(line .. '|', '([^|]*)|') do fields[#fields + 1] = field end
    return fields
end

local stored = redis.call('GETRANGE', KEYS[1], 0, 1023)
local line, old = '', nil
if stored ~= '' then
    line = string.match(stored, '^[^\n]*')
    old = split(line)
    if old[3] ~= ARGV[5] then return {'taken', '', ''} end
    if old[4] == ARGV[6] then return {'saved', line, line} end
    if ARGV[10] ~= '' then
        local fence = redis.call('GET', ARGV[1] .. 'fence:' .. ARGV[2])
        if fence and tonumber(fence) > tonumber(ARGV[10]) then return {'fenced', line, ''} end
    end
    if ARGV[4] ~= '1' and old[2] ~= ARGV[3] then return {'stale', line, ''} end
elseif ARGV[3] ~= '0' and ARGV[4] ~= '1' then
    return {'stale', '', ''}
end

local score = string.format('%.0f', -tonumber(ARGV[7]))
local revision = string.format('%.0f', (old and tonumber(old[2]) or 0) + 1)
local created = old and old[5] or ARGV[7]
local header = table.concat({'1', revision, ARGV[5], ARGV[6], created, score, ARGV[8]}, '|')

if old then
    for at = 9, #old do
        local key = ARGV[1] .. old[at]
        if string.sub(old[at], 1, 5) == 'step:' then
            redis.call('SREM', key, ARGV[2])
        else
            redis.call('ZREM', key, ARGV[2])
        end
    end
end
local new = split(header)
for at = 9, #new do
    local key = ARGV[1] .. new[at]
    if string.sub(new[at], 1, 5) == 'step:' then
        redis.call('SADD', key, ARGV[2])
    else
        redis.call('ZADD', key, score, ARGV[2])
    end
end
redis.call('ZADD', ARGV[1] .. 'hot', score, ARGV[2])
redis.call('ZREM', ARGV[1] .. 'cold', ARGV[2])
redis.call('SET', KEYS[1], header .. '\n' .. ARGV[9])
return {'saved', line, header}
