-- R9: follows the ledger's allotment if it was decided later than the known one. Units withheld
-- count again: either the allotment falls by them, or the reduction that they were withheld for is
-- void.
-- ARGV  1 epoch, 2 offer (8 bytes), 3 allotment, 4 position of the change (19 digits)
-- Reply {0, epoch} closed | {1}
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due 1 <offer> 1200
--       0002251799813685504
check(#KEYS == 4 and #ARGV == 4 and #ARGV[2] == 8, 'adjust: arity')
check(#ARGV[4] == 19 and not string.find(ARGV[4], '%D'), 'adjust: position')
local epoch, offer, allotment, changed_at = ARGV[1], ARGV[2], whole(ARGV[3]), ARGV[4]
local state = call('HMGET', KEYS[1], 'e', 'o', 'r', 'u' .. offer, 'a' .. offer, 'c' .. offer, 'w' .. offer)
if not open(state) or state[1] ~= epoch then return closed(state) end
if not state[4] then return { 1 } end
local left, known, withheld = stored(state[4]), stored(state[5]), stored(state[7] or '0')
if not (left and known and withheld and state[6]) then return damaged(state) end
-- Positions do not fit a Lua number; 19 digits compare as text.
if state[6] < changed_at then
  left = math.max(0, left + withheld + allotment - known)
  call('HSET', KEYS[1], 'u' .. offer, left, 'a' .. offer, allotment, 'c' .. offer, changed_at, 'w' .. offer, 0)
end
return { 1 }
