#!lua flags=no-writes
-- A range of the union of a bucket's indexes, in order of score, then id.
--
-- KEYS[1]  the beginning of the indexes' keys, in whose slot they and the values are
-- ARGV[1]  prefix of the bucket's keys
-- ARGV[2]  offset, in entries
-- ARGV[3]  limit, in entries
-- ARGV[4]  highest score
-- ARGV[5]  "values" to return values as well, or "scores"
-- ARGV[6]  the endings of the indexes' keys, separated by |
-- ARGV[7]  the cursor's score, and
-- ARGV[8]  the cursor's session: only entries behind it; -inf and "" for all
--
-- Returns a flat list of sessions, each followed by its score, and its value if asked for: nil if it is missing, "" if
-- it is of another type.

-- While a slot migrates, both nodes refuse a command on several keys of which one is absent, and 'moving' always is:
-- the script is refused before it changes anything.
local is_stable = type(redis.pcall('EXISTS', KEYS[1], ARGV[1] .. 'moving')) == 'number'
if not is_stable then return redis.error_reply('TRYAGAIN the slot is moving') end

local offset, limit, entries = tonumber(ARGV[2]), tonumber(ARGV[3]), {}
local lowest, after = ARGV[7], ARGV[8]
for ending in string.gmatch(ARGV[6] .. '|', '([^|]*)|') do
    local tied = after == '' and 0 or redis.call('ZCOUNT', KEYS[1] .. ending, lowest, lowest)
    local page = {'LIMIT', 0, offset + limit + tied}
    local found = redis.call('ZRANGEBYSCORE', KEYS[1] .. ending, lowest, ARGV[4], 'WITHSCORES', unpack(page))
    for at = 1, #found, 2 do
        local score = tonumber(found[at + 1])
        if after == '' or score > tonumber(lowest) or found[at] > after then
            entries[#entries + 1] = {session = found[at], text = found[at + 1], score = score}
        end
    end
end
table.sort(entries, function(one, other)
    if one.score ~= other.score then return one.score < other.score end
    return one.session < other.session
end)
local range = {}
for at = offset + 1, math.min(#entries, offset + limit) do
    local entry = entries[at]
    range[#range + 1] = entry.session
    range[#range + 1] = entry.text
    if ARGV[5] == 'values' then
        local value = redis.pcall('GET', ARGV[1] .. 'session:' .. entry.session)
        range[#range + 1] = type(value) == 'table' and '' or value
    end
end
return range
