-- R3: closes the lane under a marker. From then on its journal cannot grow; buyers and journal stay, to be drained.
-- ARGV  1 epoch
-- Reply {1} closed | {2, epoch} refused: open at that epoch | {3, marker} refused: a higher marker
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due 2
check(#KEYS == 4 and #ARGV == 1, 'close: arity')
local epoch = whole(ARGV[1])
local state = call('HMGET', KEYS[1], 'e', 'o', 'r', 'm')
local at, marker = whole(state[1] or 0), whole(state[4] or 0)
if at >= epoch and open(state) then return { 2, at } end
if marker > epoch then return { 3, marker } end
call('HSET', KEYS[1], 'o', '0', 'm', ARGV[1], 'r', run_id())
return { 1 }
