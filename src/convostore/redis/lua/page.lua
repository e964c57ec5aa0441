#!lua
-- Values of the sessions in a range of an index, for a bucket whose first entries may not complete the page.
--
-- KEYS[1]  the index; the values' keys share its hash tag
-- ARGV[1]  prefix of the bucket's keys
-- ARGV[2]  offset, in entries
-- ARGV[3]  limit, in entries
-- ARGV[4]  highest score
--
-- Returns the values, in the order of the index.

-- While a slot migrates, both nodes refuse a command on several keys of which one is absent, and 'moving' always is:
-- the script is refused before it changes anything.
local is_stable = type(redis.pcall('EXISTS', KEYS[1], ARGV[1] .. 'moving')) == 'number'
if not is_stable then return redis.error_reply('TRYAGAIN the slot is moving') end

local found = {}
local entries = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[4], 'LIMIT', ARGV[2], ARGV[3])
for _, session in ipairs(entries) do
    found[#found + 1] = redis.call('GET', ARGV[1] .. 'session:' .. session)
end
return found
