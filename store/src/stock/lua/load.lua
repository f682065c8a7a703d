-- R4: opens a closed lane, in three kinds of steps: clear, buyers (any number of times), open. Each checks that the lane is still closed
-- under this marker in this run of the server; after any error the caller asks for the next epoch.
-- KEYS  state, buyers, journal, due
-- ARGV  1 step, 2 epoch, then
--       clear   nothing
--       buyers  buyer, entries (42 bytes each), buyer, entries, ...
--       open    limit per buyer, then for each offer: id (8 bytes), units left, allotment, position of the last change (19 digits)
-- Reply {1} | {0, epoch} refused
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due clear 2
local step, epoch = ARGV[1], ARGV[2]
if #KEYS ~= 4 or not whole(epoch) then return redis.error_reply('ERR load: arity') end
if step == 'buyers' and #ARGV % 2 ~= 0 or step == 'open' and (#ARGV < 3 or (#ARGV - 3) % 4 ~= 0) then
  return redis.error_reply('ERR load: arity of ' .. step)
end
for at = 3, step == 'buyers' and #ARGV or 0, 2 do
  if #ARGV[at + 1] == 0 or #ARGV[at + 1] % 42 ~= 0 then return redis.error_reply('ERR load: an entry') end
end
for at = 4, step == 'open' and #ARGV or 0, 4 do
  local offer, position = ARGV[at], ARGV[at + 3]
  if #offer ~= 8 or not whole(ARGV[3]) or not whole(ARGV[at + 1]) or not whole(ARGV[at + 2]) or not string.match(position, '^%d+$')
    or #position ~= 19
  then
    return redis.error_reply('ERR load: an offer')
  end
end
local state = redis.call('HMGET', KEYS[1], 'e', 'o', 'r', 'm')
if state[2] ~= '0' or state[4] ~= epoch or state[3] ~= run_id() then return closed(state[1]) end
if step == 'clear' then
  redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
elseif step == 'buyers' then
  for at = 3, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1]) end
elseif step == 'open' then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'e', epoch, 'o', '1', 'm', epoch, 'r', state[3], 'l', ARGV[3])
  for at = 4, #ARGV, 4 do
    local offer = ARGV[at]
    redis.call('HSET', KEYS[1], 'u' .. offer, ARGV[at + 1], 'a' .. offer, ARGV[at + 2], 'c' .. offer, ARGV[at + 3])
  end
else
  return redis.error_reply('ERR load: unknown step')
end
return { 1 }
