#!lua flags=allow-oom
-- Compare-and-set of a channel pointer: remove it or restore its score, unless a later save has written its own score.
-- With the pointer goes the claim under which its session was created.
--
-- KEYS[1]  the pointers of the channel identity, open or closed; the keys of claims share their hash tag
-- ARGV[1]  the pointer: session and agent
-- ARGV[2]  the expected score
-- ARGV[3]  the score to set, or "" to remove the pointer
--
-- Returns 1 if the pointer was changed, 0 if it has another score, is not there, or is in no sorted set.

local score = redis.pcall('ZSCORE', KEYS[1], ARGV[1])
if type(score) ~= 'string' or tonumber(score) ~= tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then
    redis.call('ZREM', KEYS[1], ARGV[1])
    local session, agent = string.match(ARGV[1], '^(.*):(.*)$')
    local claim = string.match(KEYS[1], '^.*:') .. 'claim:' .. agent
    -- While a slot migrates it may be out of reach; it expires.
    if redis.pcall('GET', claim) == session then redis.pcall('DEL', claim) end
else
    redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
end
return 1
