#!lua
-- Release a token and report a revision. Who leaves last publishes its copy, unless a higher revision was reported.
-- Without the token (expired, evicted, flushed, lost in a failover) nothing is published; an older copy goes in any case.
-- A deletion and a first revision rank above all revisions of others: revisions restart when an id is reused.
-- Not allow-oom, because it may store a copy: on a full server the token expires by itself, and nothing is published.
--
-- KEYS[1]  the copy, as in place_guard.lua
-- KEYS[2]  the guard, as in place_guard.lua
-- ARGV[1]  the tenant; another tenant's copy is only replaced, as the system of record knows whose the session is
-- ARGV[2]  the token
-- ARGV[3]  identity of this server as the caller knows it, as in place_guard.lua
-- ARGV[4]  the revision that was read or written; 0 for none, -1 if the session is deleted
-- ARGV[5]  the copy to publish, or ""
-- ARGV[6]  for how many milliseconds after its token was placed a holder may publish
-- ARGV[7]  time to live of the copy, in milliseconds
-- ARGV[8]  the same, counted from when the token was placed, while a write may still be applied to that revision
-- ARGV[9]  for how many milliseconds a write stays unresolved after its token has expired
--
-- Returns 1 if the copy was published, else 0.

local revision = tonumber(ARGV[4])
local restarts = revision == -1 or revision == 1
local head = redis.pcall('GETRANGE', KEYS[1], 0, 127)
if type(head) ~= 'string' then head = 'not a string' end
local stored, tenant = string.match(head, '^C|(%d+)|([^|]*)|')
if head ~= '' and (tenant == nil or (tenant == ARGV[1] and (restarts or tonumber(stored) < revision))) then
    redis.call('DEL', KEYS[1])
end
local value = redis.pcall('GET', KEYS[2])
local guard = '^G|([^|]*)|(%-?%d+)|(%-?%d+)|(%d+)|(.*)$'
local server, reported, unresolved, till, tokens = string.match(type(value) == 'string' and value or '', guard)
if server ~= ARGV[3] then
    redis.call('DEL', KEYS[2])
    return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
reported, unresolved, till = tonumber(reported), tonumber(unresolved), tonumber(till)
if reported >= 0 then reported = math.max(reported, revision) end
if till <= now then unresolved = -1 end
local inside, since = {}, nil
for token, entered, expires, expected in string.gmatch(tokens, '([^@,]+)@(%d+)@(%d+)@(%-?%d+)') do
    if token == ARGV[2] then
        since = tonumber(expires) > now and now - entered
    elseif tonumber(expires) > now then
        inside[#inside + 1] = token .. '@' .. entered .. '@' .. expires .. '@' .. expected
    elseif expected ~= '-1' then
        unresolved, till = math.max(unresolved, expected), math.max(till, expires + ARGV[9])
    end
end
if #inside > 0 or unresolved >= 0 then
    local kept = restarts and -1 or reported
    value = string.format('G|%s|%.0f|%.0f|%.0f|', server, kept, unresolved, till) .. table.concat(inside, ',')
    redis.call('SET', KEYS[2], value, 'KEEPTTL')
else
    redis.call('DEL', KEYS[2])
end
if #inside > 0 or not since or since > tonumber(ARGV[6]) or ARGV[5] == '' or revision ~= reported then return 0 end
local ttl = tonumber(ARGV[7])
if revision <= unresolved then ttl = math.min(ttl, ARGV[8] - since) end
if ttl < 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[5], 'PX', string.format('%.0f', ttl))
return 1
