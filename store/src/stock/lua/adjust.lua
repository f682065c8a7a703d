-- R9: follows the ledger's allotment if it was decided later than the known one. When it falls, units withheld for that are what it
-- falls by: they count again. When it rises, the reduction they wait for is still to come.
-- KEYS  state
-- ARGV  1 epoch, 2 offer (8 bytes), 3 allotment, 4 position of the change (19 digits)
-- Reply {0, epoch} closed | {1}
-- e.g.  EVALSHA sha 1 fs:{7}:state 1 <offer> 1200 0002251799813685504
local allotment = whole(ARGV[3])
if #KEYS ~= 1 or #ARGV ~= 4 or #ARGV[2] ~= 8 or not allotment or #ARGV[4] ~= 19 or string.find(ARGV[4], '%D') then
  return redis.error_reply('ERR adjust: arity')
end
local offer = ARGV[2]
local state = redis.call('HMGET', KEYS[1], 'e', 'o', 'r', 'u' .. offer, 'a' .. offer, 'c' .. offer, 'w' .. offer)
if state[2] ~= '1' or state[1] ~= ARGV[1] or state[3] ~= run_id() then return closed(state[1]) end
-- Positions do not fit a Lua number; 19 digits compare as text.
if state[4] and state[6] < ARGV[4] then
  local left, known, withheld = tonumber(state[4]), tonumber(state[5]), tonumber(state[7] or 0)
  if allotment < known then
    left = left + withheld
    withheld = 0
  end
  left = math.max(0, left + allotment - known)
  redis.call('HSET', KEYS[1], 'u' .. offer, left, 'a' .. offer, allotment, 'c' .. offer, ARGV[4], 'w' .. offer, withheld)
end
return { 1 }
