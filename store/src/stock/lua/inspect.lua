-- The lane's state, for its keeper and for metrics.
-- KEYS  state, buyers, journal, due
-- ARGV  none
-- Reply {run matches (1 or 0), state as a flat list, journal entries, due time of the oldest or '', buyers with an entry}
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due
if #KEYS ~= 4 or #ARGV ~= 0 then return redis.error_reply('ERR inspect: arity') end
local same = redis.call('HGET', KEYS[1], 'r') == run_id() and 1 or 0
local oldest = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
return { same, redis.call('HGETALL', KEYS[1]), redis.call('HLEN', KEYS[3]), oldest[2] or '', redis.call('HLEN', KEYS[2]) }
