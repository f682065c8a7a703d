-- R14: deletes a lane that is closed under this very marker in this run of the server. A missing
-- lane is gone already; one that lost only its state is not: its journal may not be in the log.
-- ARGV  1 epoch
-- Reply {0} refused | {1} nothing of it is left
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due 2
check(#KEYS == 4 and #ARGV == 1, 'retire: arity')
whole(ARGV[1])
local state = call('HMGET', KEYS[1], 'o', 'm', 'r')
if not state[1] then return { call('EXISTS', unpack(KEYS)) == 0 and 1 or 0 } end
if state[1] ~= '0' or state[2] ~= ARGV[1] or state[3] ~= run_id() then return { 0 } end
call('UNLINK', unpack(KEYS))
return { 1 }
