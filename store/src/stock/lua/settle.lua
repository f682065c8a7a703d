-- Takes decided batches out of the journal, and gone orders out of their buyers' entries; units go back only with a live entry.
-- KEYS  state, buyers, journal, due
-- ARGV  1 epoch, 2 number of batches, then the batch ids (8 bytes each), then for each gone order: buyer, order id (8 bytes), why:
--       R released (units back, a tombstone stays), J rejected (units back), S rejected for stock (nothing goes back)
-- Reply {0, epoch} closed | {1}
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due 1 1 <batch> 42 <order> R
local batches = whole(ARGV[2])
if #KEYS ~= 4 or not batches or #ARGV < 2 + batches or (#ARGV - 2 - batches) % 3 ~= 0 then
  return redis.error_reply('ERR settle: arity')
end
for at = 3 + batches, #ARGV, 3 do
  if #ARGV[at + 1] ~= 8 or not string.match(ARGV[at + 2], '^[RJS]$') then return redis.error_reply('ERR settle: gone') end
end
local state = redis.call('HMGET', KEYS[1], 'e', 'o', 'r')
if state[2] ~= '1' or state[1] ~= ARGV[1] or state[3] ~= run_id() then return closed(state[1]) end
redis.call('HLEN', KEYS[2])
redis.call('HLEN', KEYS[3])
redis.call('ZCARD', KEYS[4])
for i = 3, 2 + batches do
  redis.call('HDEL', KEYS[3], ARGV[i])
  redis.call('ZREM', KEYS[4], ARGV[i])
end
for at = 3 + batches, #ARGV, 3 do
  local buyer, order, why = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local entry = redis.call('HGET', KEYS[2], buyer) or ''
  for p = 1, #entry, 42 do
    if string.sub(entry, p, p + 7) == order and string.byte(entry, p + 41) ~= 0 then
      local before, after = string.sub(entry, 1, p - 1), string.sub(entry, p + 42)
      if why == 'R' then before = before .. string.sub(entry, p, p + 40) .. '\0' end
      if before .. after == '' then
        redis.call('HDEL', KEYS[2], buyer)
      else
        redis.call('HSET', KEYS[2], buyer, before .. after)
      end
      local units = 'u' .. string.sub(entry, p + 16, p + 23)
      if why ~= 'S' and redis.call('HEXISTS', KEYS[1], units) == 1 then
        redis.call('HINCRBY', KEYS[1], units, string.byte(entry, p + 40))
      end
      break
    end
  end
end
return { 1 }
