-- R16: follows the ledger's limit per buyer if it was decided later than the last one told here,
-- and promises by no more than the fence until the next one is told.
-- ARGV  1 epoch, 2 limit, 3 position of the change that made it so (19 digits), 4 fence
-- Reply {0, epoch} closed | {1, the limit that holds here, 0 where a later change was told}
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due 1 3
--       0002251799813685504 2
check(#KEYS == 4 and #ARGV == 4, 'limit: arity')
check(#ARGV[3] == 19 and not string.find(ARGV[3], '%D'), 'limit: position')
local epoch, limit, changed_at, fence = ARGV[1], whole(ARGV[2]), ARGV[3], whole(ARGV[4])
check(limit >= 1 and limit <= 100 and fence >= 1, 'limit: limit')
local state = call('HMGET', KEYS[1], 'e', 'o', 'r', 'l', 'p')
if not open(state) or state[1] ~= epoch then return closed(state) end
local known, told = stored(state[4]), state[5] or '0000000000000000000'
if not known then return damaged(state) end
if told > changed_at then return { 1, 0 } end
local here = math.min(told < changed_at and limit or known, fence)
if here ~= known then call('HSET', KEYS[1], 'l', here) end
if told ~= changed_at then call('HSET', KEYS[1], 'p', changed_at) end
return { 1, here }
