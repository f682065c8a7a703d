-- The lane's state, for its keeper and for metrics.
-- ARGV  none
-- Reply {1 open or 0 not, state as a flat list, journal entries, due time of the oldest or '',
--       buyers with an entry}
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due
check(#KEYS == 4 and #ARGV == 0, 'inspect: arity')
local journaled = call('HLEN', KEYS[3]) - call('HEXISTS', KEYS[3], ZEROS)
local buyers = call('HLEN', KEYS[2]) - call('HEXISTS', KEYS[2], ZEROS)
local oldest = call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
local due_at = oldest[1] ~= ZEROS and oldest[2] or ''
local is_open = open(call('HMGET', KEYS[1], 'e', 'o', 'r')) and 1 or 0
return { is_open, call('HGETALL', KEYS[1]), journaled, due_at, buyers }
