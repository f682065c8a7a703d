-- Batches that are due, oldest first, then by id; their due time moves on in the same call, so that
-- replicas sweep without a storm.
-- ARGV  1 now (ms), 2 how many at most, 3 how far the due time moves (ms)
-- Reply {0, epoch} closed | {1, batch (8 bytes), its bytes, batch, its bytes, ...}
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due 1700000005000 16 5000
check(#KEYS == 4 and #ARGV == 3, 'claim: arity')
local now, most, backoff = whole(ARGV[1]), whole(ARGV[2]), whole(ARGV[3])
local state = call('HMGET', KEYS[1], 'e', 'o', 'r')
if not open(state) then return closed(state) end
local reply = { 1 }
for _, batch in ipairs(call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, most)) do
  local bytes = call('HGET', KEYS[3], batch)
  if bytes then
    call('ZADD', KEYS[4], now + backoff, batch)
    reply[#reply + 1] = batch
    reply[#reply + 1] = bytes
  else
    call('ZREM', KEYS[4], batch)
  end
end
return reply
