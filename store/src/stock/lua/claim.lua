-- Batches that are due, oldest first; their due time moves on in the same call, so that replicas sweep without a storm.
-- KEYS  state, journal, due
-- ARGV  1 now (ms), 2 how many at most, 3 how far the due time moves (ms)
-- Reply {0, epoch} closed | {1, id (8 bytes), bytes, id, bytes, ...}
-- e.g.  EVALSHA sha 3 fs:{7}:state fs:{7}:journal fs:{7}:due 1700000005000 16 5000
local now, most, backoff = whole(ARGV[1]), whole(ARGV[2]), whole(ARGV[3])
if #KEYS ~= 3 or #ARGV ~= 3 or not now or not most or not backoff then return redis.error_reply('ERR claim: arity') end
local state = redis.call('HMGET', KEYS[1], 'e', 'o', 'r')
if state[2] ~= '1' or state[3] ~= run_id() then return closed(state[1]) end
redis.call('HLEN', KEYS[2])
local reply = { 1 }
for _, batch in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, most)) do
  local bytes = redis.call('HGET', KEYS[2], batch)
  if bytes then
    redis.call('ZADD', KEYS[3], now + backoff, batch)
    reply[#reply + 1] = batch
    reply[#reply + 1] = bytes
  else
    redis.call('ZREM', KEYS[3], batch)
  end
end
return reply
