#!lua
-- Leave the fence of a session's hot copy, and say what revision was seen. The last to leave publishes its copy, unless
-- somebody saw a higher revision. Who entered a fence that was lost since cannot publish, but still removes older copies.
-- A deletion and a first revision are higher than all that others saw: revisions begin again when an id is used again.
--
-- KEYS[1]  the copy or the fence, as in enter.lua
-- ARGV[1]  token of the caller
-- ARGV[2]  the server that the caller takes this one for, as in enter.lua
-- ARGV[3]  revision seen or written; 0 for none, -1 for "the session is gone"
-- ARGV[4]  the copy to publish, or ""
-- ARGV[5]  time to live of the copy, in milliseconds
--
-- Returns 1 if the copy was published, else 0.

local head = redis.pcall('GETRANGE', KEYS[1], 0, 63)
if type(head) ~= 'string' then head = '' end
local revision = tonumber(ARGV[3])
local again = revision == -1 or revision == 1
if string.sub(head, 1, 2) == 'C|' then
    local stored = tonumber(string.match(head, '^C|(%d+)|'))
    if again or not stored or stored < revision then redis.call('DEL', KEYS[1]) end
    return 0
end
local fence = string.sub(head, 1, 2) == 'F|' and redis.call('GET', KEYS[1]) or ''
local server, highest, tokens = string.match(fence, '^F|([^|]*)|(-?%d+)|(.*)$')
if server ~= ARGV[2] then
    redis.call('DEL', KEYS[1])
    return 0
end
highest = tonumber(highest)
if highest >= 0 then highest = math.max(highest, revision) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local others, entered = {}, false
for token, expiry in string.gmatch(tokens, '([^@,]+)@(%d+)') do
    if token == ARGV[1] then
        entered = tonumber(expiry) > now
    elseif tonumber(expiry) > now then
        others[#others + 1] = token .. '@' .. expiry
    end
end
if #others > 0 then
    if again then highest = -1 end
    redis.call('SET', KEYS[1], string.format('F|%s|%.0f|', server, highest) .. table.concat(others, ','), 'KEEPTTL')
    return 0
end
if entered and ARGV[4] ~= '' and revision == highest then
    redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
    return 1
end
redis.call('DEL', KEYS[1])
return 0
