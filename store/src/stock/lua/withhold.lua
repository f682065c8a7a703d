-- R9: takes free units out of sale for a reduction, once for each version of the sale.
-- KEYS  state
-- ARGV  1 epoch, 2 offer (8 bytes), 3 version, 4 units
-- Reply {0, epoch} closed | {1, units taken}; the same version is told the same again
-- e.g.  EVALSHA sha 1 fs:{7}:state 1 <offer> 3 50
local version, units = whole(ARGV[3]), whole(ARGV[4])
if #KEYS ~= 1 or #ARGV ~= 4 or #ARGV[2] ~= 8 or not version or not units then
  return redis.error_reply('ERR withhold: arity')
end
local offer = ARGV[2]
local state = redis.call('HMGET', KEYS[1], 'e', 'o', 'r', 'u' .. offer, 'v' .. offer, 't' .. offer, 'w' .. offer)
if state[2] ~= '1' or state[1] ~= ARGV[1] or state[3] ~= run_id() then return closed(state[1]) end
if not state[4] then return { 1, '0' } end
local left, known, taken, out = tonumber(state[4]), tonumber(state[5] or 0), tonumber(state[6] or 0), tonumber(state[7] or 0)
if version < known then return { 1, '0' } end
if version > known then
  -- An older version's reduction that never came: its units are free again.
  left = left + out
  taken = math.min(units, left)
  redis.call('HSET', KEYS[1], 'u' .. offer, left - taken, 'v' .. offer, version, 't' .. offer, taken, 'w' .. offer, taken)
end
return { 1, string.format('%d', taken) }
