#!lua
-- Mend a pointer of a channel identity, if it is still the one that was written: a later save has written its own.
--
-- KEYS[1]  the key of the pointers
-- ARGV[1]  session id
-- ARGV[2]  the score that it must have
-- ARGV[3]  the score to give it instead, or "" to remove it
--
-- Returns 1 if the pointer was mended, 0 if it was another or none.

local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then
    redis.call('ZREM', KEYS[1], ARGV[1])
else
    redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
end
return 1
