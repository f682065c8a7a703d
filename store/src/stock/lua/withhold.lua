-- R9: takes free units out of sale for a reduction that follows one change of the allotment; after
-- another change it answers none. The pool only grows until the next change empties it: no unit is
-- counted for two reductions.
-- ARGV  1 epoch, 2 offer (8 bytes), 3 position of the change it follows (19 digits), 4 units
-- Reply {0, epoch} closed | {1, units taken}
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due 1 <offer>
--       0000000000000000000 50
check(#KEYS == 4 and #ARGV == 4 and #ARGV[2] == 8, 'withhold: arity')
check(#ARGV[3] == 19 and not string.find(ARGV[3], '%D'), 'withhold: position')
local epoch, offer, after, units = ARGV[1], ARGV[2], ARGV[3], whole(ARGV[4])
local state = call('HMGET', KEYS[1], 'e', 'o', 'r', 'u' .. offer, 'c' .. offer, 'w' .. offer)
if not open(state) or state[1] ~= epoch then return closed(state) end
if not state[4] or state[5] ~= after then return { 1, 0 } end
local left, withheld = stored(state[4]), stored(state[6] or '0')
if not (left and withheld) then return damaged(state) end
local more = math.min(math.max(0, units - withheld), left)
if more > 0 then
  call('HSET', KEYS[1], 'u' .. offer, left - more, 'w' .. offer, withheld + more)
end
return { 1, math.min(units, withheld + more) }
