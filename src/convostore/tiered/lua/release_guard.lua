#!lua
-- Release a guard and report a revision. The last release publishes its copy, unless a higher revision was reported.
-- Without the guard (evicted, expired, flushed, lost in a failover) nothing is published, but an older copy is removed.
-- A deletion and a first revision rank above all revisions of others: revisions restart when an id is reused.
--
-- KEYS[1]  the copy or the guards, as in place_guard.lua
-- ARGV[1]  token of the guard
-- ARGV[2]  identity of this server as the caller knows it, as in place_guard.lua
-- ARGV[3]  revision read or written; 0 for none, -1 if the session is deleted
-- ARGV[4]  the copy to publish, or ""
-- ARGV[5]  time to live of the copy, in milliseconds
--
-- Returns 1 if the copy was published, else 0.

local head = redis.pcall('GETRANGE', KEYS[1], 0, 63)
if type(head) ~= 'string' then head = '' end
local revision = tonumber(ARGV[3])
local restarts = revision == -1 or revision == 1
if string.sub(head, 1, 2) == 'C|' then
    local stored = tonumber(string.match(head, '^C|(%d+)|'))
    if restarts or not stored or stored < revision then redis.call('DEL', KEYS[1]) end
    return 0
end
local value = string.sub(head, 1, 2) == 'G|' and redis.call('GET', KEYS[1]) or ''
local server, highest, tokens = string.match(value, '^G|([^|]*)|(-?%d+)|(.*)$')
if server ~= ARGV[2] then
    redis.call('DEL', KEYS[1])
    return 0
end
highest = tonumber(highest)
if highest >= 0 then highest = math.max(highest, revision) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local others, held = {}, false
for token, expiry in string.gmatch(tokens, '([^@,]+)@(%d+)') do
    if token == ARGV[1] then
        held = tonumber(expiry) > now
    elseif tonumber(expiry) > now then
        others[#others + 1] = token .. '@' .. expiry
    end
end
if #others > 0 then
    if restarts then highest = -1 end
    redis.call('SET', KEYS[1], string.format('G|%s|%.0f|', server, highest) .. table.concat(others, ','), 'KEEPTTL')
    return 0
end
if held and ARGV[4] ~= '' and revision == highest then
    redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
    return 1
end
redis.call('DEL', KEYS[1])
return 0
