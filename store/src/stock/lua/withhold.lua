-- R9: takes free units out of sale for a reduction, once for each version of the sale; asked again it answers the same.
-- ARGV  1 epoch, 2 offer (8 bytes), 3 version, 4 units
-- Reply {0, epoch} closed | {1, units taken}
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due 1 <offer> 3 50
check(#KEYS == 4 and #ARGV == 4 and #ARGV[2] == 8, 'withhold: arity')
local epoch, offer, version, units = ARGV[1], ARGV[2], whole(ARGV[3]), whole(ARGV[4])
local state = call('HMGET', KEYS[1], 'e', 'o', 'r', 'u' .. offer, 'v' .. offer, 'w' .. offer, 'p' .. offer)
if not open(state) or state[1] ~= epoch then return closed(state) end
local known, answered = whole(state[5] or 0), whole(state[6] or 0)
if not state[4] or version < known then return { 1, 0 } end
if version > known then
  -- An older version's reduction that never came: its units are free again.
  local free = whole(state[4]) + whole(state[7] or 0)
  answered = math.min(units, free)
  local left = free - answered
  call('HSET', KEYS[1], 'u' .. offer, left, 'v' .. offer, version, 'w' .. offer, answered, 'p' .. offer, answered)
end
return { 1, answered }
