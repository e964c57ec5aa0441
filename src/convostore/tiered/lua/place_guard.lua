#!lua
-- Place a token in the guard of a tenant's session: as long as it is there, nobody else publishes a copy of the session.
-- A writer's token removes the copy. A loader's is refused where a valid copy is, or another token.
--
-- KEYS[1]  the copy: C|revision|tenant|created|activity|server|generation, newline, payload
-- KEYS[2]  the guard: G|server|reported|unresolved|until|token@entered@expires@expected,…
--          reported: the highest revision reported since its tokens were placed, -1 once revisions have restarted
--          unresolved: up to which revision a write of unknown outcome may still be applied, until then; -1 for none
--          any other value of the keys, of whichever type, is replaced
-- ARGV[1]  the tenant; another tenant's copy stays
-- ARGV[2]  the token; placing it again renews it, and leaves what its first attempt wrote unresolved
-- ARGV[3]  identity of this server as the caller knows it; a guard under another is void, as reports may be lost
-- ARGV[4]  after how many milliseconds the token expires
-- ARGV[5]  on which revision the write may be applied, 2^53 for any; -1 for a loader
-- ARGV[6]  for how many milliseconds a write stays unresolved after its token has expired
-- ARGV[7]  the tenant's generation: a copy of an earlier one is invalid
--
-- Returns 1 if the token is placed, else 0.

local head = redis.pcall('GETRANGE', KEYS[1], 0, 255)
if type(head) ~= 'string' then head = 'not a string' end
local tenant = string.match(head, '^C|%d+|([^|]*)|')
local removable = head ~= '' and (tenant == nil or tenant == ARGV[1])
local loading = ARGV[5] == '-1'
if removable and loading then
    local server, generation = string.match(head, '^C|%d+|[^|]*|%-?%d+|%-?%d+|([^|]*)|(%d+)\n')
    if server == ARGV[3] and tonumber(generation) >= tonumber(ARGV[7]) then return 0 end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local value = redis.pcall('GET', KEYS[2])
local guard = '^G|([^|]*)|(%-?%d+)|(%-?%d+)|(%d+)|(.*)$'
local server, reported, unresolved, till, tokens = string.match(type(value) == 'string' and value or '', guard)
if server ~= ARGV[3] then reported, unresolved, till, tokens = 0, -1, 0, '' end
unresolved, till = tonumber(unresolved), tonumber(till)
if till <= now then unresolved = -1 end
local inside = {}
for token, entered, expires, expected in string.gmatch(tokens, '([^@,]+)@(%d+)@(%d+)@(%-?%d+)') do
    if token ~= ARGV[2] and tonumber(expires) > now then
        inside[#inside + 1] = token .. '@' .. entered .. '@' .. expires .. '@' .. expected
    elseif expected ~= '-1' then
        unresolved, till = math.max(unresolved, expected), math.max(till, expires + ARGV[6])
    end
end
if loading and #inside > 0 then return 0 end
if removable then redis.call('DEL', KEYS[1]) end
if #inside == 0 then reported = 0 end
inside[#inside + 1] = string.format('%s@%.0f@%.0f@%s', ARGV[2], now, now + ARGV[4], ARGV[5])
value = string.format('G|%s|%s|%.0f|%.0f|', ARGV[3], reported, unresolved, till) .. table.concat(inside, ',')
local lifetime = ARGV[4] + (loading and 0 or ARGV[6])
redis.call('SET', KEYS[2], value, 'PX', math.max(redis.call('PTTL', KEYS[2]), lifetime))
return 1
