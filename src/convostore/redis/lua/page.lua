#!lua
-- The next sessions of an index with their values, where the first few entries were not enough.
--
-- KEYS[1]  the index; the values' keys share its hash tag
-- ARGV[1]  prefix of the bucket's keys
-- ARGV[2]  how many entries to skip
-- ARGV[3]  how many sessions at most
-- ARGV[4]  the highest score that is still wanted
--
-- Returns the values, in the order of the index.

-- While a slot moves key by key, both nodes refuse several keys of which one is absent; this one always is.
local all_here = type(redis.pcall('EXISTS', KEYS[1], ARGV[1] .. 'moving')) == 'number'
if not all_here then return redis.error_reply('TRYAGAIN the slot is moving') end

local found = {}
local entries = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[4], 'LIMIT', ARGV[2], ARGV[3])
for _, session in ipairs(entries) do
    found[#found + 1] = redis.call('GET', ARGV[1] .. 'session:' .. session)
end
return found
