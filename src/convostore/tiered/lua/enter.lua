#!lua
-- Enter the fence of a session's hot copy: until everybody who has entered has left, no copy is published.
--
-- KEYS[1]  the copy: C|revision|… and a payload, or the fence in its place: F|server|highest revision seen|token@until,…
--          whatever else is there, of whichever type, is replaced
-- ARGV[1]  token of the caller; entering twice is entering once
-- ARGV[2]  the server that the caller takes this one for; a fence that was made on another may have lost who left it
-- ARGV[3]  how long the caller may stay, in milliseconds
-- ARGV[4]  "read" to be given a copy that is there instead, "write" to remove it
--
-- Returns the copy if it is there and wanted, else "": the caller has entered.

local head = redis.pcall('GETRANGE', KEYS[1], 0, 1)
if head == 'C|' and ARGV[4] == 'read' then return redis.call('GET', KEYS[1]) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local highest, inside = '0', {}
if head == 'F|' then
    local server, seen, tokens = string.match(redis.call('GET', KEYS[1]), '^F|([^|]*)|(-?%d+)|(.*)$')
    if server == ARGV[2] then
        for token, expiry in string.gmatch(tokens, '([^@,]+)@(%d+)') do
            if tonumber(expiry) > now and token ~= ARGV[1] then inside[#inside + 1] = token .. '@' .. expiry end
        end
        if #inside > 0 then highest = seen end
    end
end
inside[#inside + 1] = ARGV[1] .. '@' .. string.format('%.0f', now + ARGV[3])
local fence = 'F|' .. ARGV[2] .. '|' .. highest .. '|' .. table.concat(inside, ',')
redis.call('SET', KEYS[1], fence, 'PX', ARGV[3])
return ''
