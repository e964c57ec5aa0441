#!lua
-- Place a guard on a session: no copy of it is published until every guard was released or has expired.
--
-- KEYS[1]  the copy: C|revision|… and a payload; or guards in its place: G|server|highest revision reported|token@until,…
--          any other value, of whichever type, is replaced
-- ARGV[1]  token of the guard; placing it again renews it
-- ARGV[2]  identity of this server as the caller knows it; under another, releases may have been lost
-- ARGV[3]  time to live of the guard, in milliseconds
-- ARGV[4]  "read" to return a copy that is there, "write" to remove it
--
-- Returns the copy if one is there and ARGV[4] is "read", else "": the guard is placed.

local head = redis.pcall('GETRANGE', KEYS[1], 0, 1)
if head == 'C|' and ARGV[4] == 'read' then return redis.call('GET', KEYS[1]) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local highest, guards = '0', {}
if head == 'G|' then
    local server, reported, tokens = string.match(redis.call('GET', KEYS[1]), '^G|([^|]*)|(-?%d+)|(.*)$')
    if server == ARGV[2] then
        for token, expiry in string.gmatch(tokens, '([^@,]+)@(%d+)') do
            if tonumber(expiry) > now and token ~= ARGV[1] then guards[#guards + 1] = token .. '@' .. expiry end
        end
        if #guards > 0 then highest = reported end
    end
end
guards[#guards + 1] = ARGV[1] .. '@' .. string.format('%.0f', now + ARGV[3])
local value = 'G|' .. ARGV[2] .. '|' .. highest .. '|' .. table.concat(guards, ',')
redis.call('SET', KEYS[1], value, 'PX', ARGV[3])
return ''
