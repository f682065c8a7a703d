-- A buyer's purchases, live ones and tombstones, in whatever epoch.
-- ARGV  1 buyer (8 bytes)
-- Reply {0, epoch} closed | {1, purchases (42 bytes each), a byte for each: 1 settled, 0 in flight}
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due <buyer>
check(#KEYS == 4 and #ARGV == 1 and #ARGV[1] == 8, 'find: arity')
local state = call('HMGET', KEYS[1], 'e', 'o', 'r')
if not open(state) then return closed(state) end
local entry = call('HGET', KEYS[2], ARGV[1]) or ''
if #entry % ENTRY ~= 0 then return damaged(state) end
local settled = {}
for e = 1, #entry, ENTRY do
  local batch = sub(entry, e + 34, e + 41)
  settled[#settled + 1] = (batch == ZEROS or call('HEXISTS', KEYS[3], batch) == 0) and '\1' or '\0'
end
return { 1, entry, table.concat(settled) }
