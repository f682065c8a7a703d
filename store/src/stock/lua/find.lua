-- A buyer's purchases, live ones and tombstones.
-- KEYS  state, buyers, journal
-- ARGV  1 buyer
-- Reply {0, epoch} closed | {1, entries of 42 bytes each, a byte for each: 1 settled, 0 not}
-- e.g.  EVALSHA sha 3 fs:{7}:state fs:{7}:buyers fs:{7}:journal 42
if #KEYS ~= 3 or #ARGV ~= 1 then return redis.error_reply('ERR find: arity') end
local state = redis.call('HMGET', KEYS[1], 'e', 'o', 'r')
if state[2] ~= '1' or state[3] ~= run_id() then return closed(state[1]) end
local entry = redis.call('HGET', KEYS[2], ARGV[1]) or ''
local settled = {}
for p = 1, #entry, 42 do
  local batch = string.sub(entry, p + 8, p + 15)
  local is = batch == '\0\0\0\0\0\0\0\0' or redis.call('HEXISTS', KEYS[3], batch) == 0
  settled[#settled + 1] = is and '\1' or '\0'
end
return { 1, entry, table.concat(settled) }
