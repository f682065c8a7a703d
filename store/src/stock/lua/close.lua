-- R3: closes the lane under a marker. From then on its journal cannot grow.
-- KEYS  state
-- ARGV  1 epoch
-- Reply {1} closed | {2, epoch} refused: open at that epoch | {3, marker} refused: a higher marker
-- e.g.  EVALSHA sha 1 fs:{7}:state 2
local epoch = whole(ARGV[1])
if #KEYS ~= 1 or #ARGV ~= 1 or not epoch then return redis.error_reply('ERR close: arity') end
local state = redis.call('HMGET', KEYS[1], 'e', 'o', 'r', 'm')
local run = run_id()
if state[2] == '1' and state[3] == run and tonumber(state[1]) >= epoch then return { 2, state[1] } end
if state[4] and tonumber(state[4]) > epoch then return { 3, state[4] } end
redis.call('HSET', KEYS[1], 'o', '0', 'm', ARGV[1], 'r', run)
return { 1 }
