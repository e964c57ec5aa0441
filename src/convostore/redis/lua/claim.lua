#!lua flags=allow-oom
-- Claim a channel identity and agent for a session that is to be created, unless there is a pointer to an open one.
-- The claim expires: its holder may die. On a full server it is allowed, so that what exists is found there.
--
-- KEYS[1]  the pointers to the identity's open sessions; the key of the claim shares their hash tag
-- ARGV[1]  prefix of the identity's keys
-- ARGV[2]  agent
-- ARGV[3]  id of the session to create
-- ARGV[4]  how long the claim lasts, in milliseconds
-- ARGV[5]  within how many milliseconds the session must be saved
-- ARGV[6]  "1" to claim beside pointers, because those that were returned lead to no open session
-- ARGV[7]  offset among the agent's pointers
-- ARGV[8]  limit of pointers
--
-- Returns {verdict, until when the session may be saved in microseconds since 1970 or "", pointer…}; the verdict is
-- "open" (there are pointers, and nothing is claimed), "held" (by another call) or "claimed".

-- While a slot migrates, both nodes refuse a command on several keys of which one is absent, and 'moving' always is:
-- the script is refused before it changes anything.
local is_stable = type(redis.pcall('EXISTS', KEYS[1], ARGV[1] .. 'moving')) == 'number'
if not is_stable then return redis.error_reply('TRYAGAIN the slot is moving') end

local ending, offset, limit = ':' .. ARGV[2], tonumber(ARGV[7]), tonumber(ARGV[8])
local pointers, seen, start = {}, 0, 0
repeat
    local members = redis.pcall('ZRANGE', KEYS[1], start, start + 99)
    -- Pointers of another type lead nowhere.
    if members.err then break end
    for _, member in ipairs(members) do
        if string.sub(member, -#ending) == ending then
            seen = seen + 1
            if seen > offset and #pointers < limit then pointers[#pointers + 1] = member end
        end
    end
    start = start + 100
until #members < 100 or #pointers == limit
if #pointers > 0 and ARGV[6] ~= '1' then return {'open', '', unpack(pointers)} end

local claim = ARGV[1] .. 'claim:' .. ARGV[2]
local holder = redis.call('GET', claim)
if holder and holder ~= ARGV[3] then return {'held', '', unpack(pointers)} end
redis.call('SET', claim, ARGV[3], 'PX', ARGV[4])
local time = redis.call('TIME')
local last = tonumber(time[1]) * 1000000 + tonumber(time[2]) + tonumber(ARGV[5]) * 1000
return {'claimed', string.format('%.0f', last), unpack(pointers)}
