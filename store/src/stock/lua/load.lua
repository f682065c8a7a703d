-- R4: opens a closed lane, in steps: clear, buyers (any number of times), open. Each checks that
-- the lane is still closed under this marker in this run of the server, the last one also that the
-- buyers are all there; after any error the caller asks for the next epoch.
-- ARGV  1 step, 2 epoch, then
--       clear   nothing
--       buyers  buyer (8 bytes), purchases (42 bytes each), buyer, purchases, ...
--       open    number of buyers, limit per buyer, then for each offer: id (8 bytes), units left,
--               allotment, position of the last change (19 digits)
-- Reply {0} refused | {1, buyers that were not there yet}
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due clear 2
check(#KEYS == 4 and #ARGV >= 2, 'load: arity')
local step, epoch = ARGV[1], ARGV[2]
whole(epoch)
if step == 'buyers' then
  check(#ARGV % 2 == 0 and #ARGV >= 4 and #ARGV <= 7000, 'load: arity of buyers')
  for at = 3, #ARGV, 2 do
    local purchases = ARGV[at + 1]
    check(#ARGV[at] == 8 and ARGV[at] ~= ZEROS and #purchases > 0 and #purchases % ENTRY == 0, 'load: buyer')
  end
elseif step == 'open' then
  check(#ARGV >= 4 and #ARGV % 4 == 0, 'load: arity of open')
  check(whole(ARGV[3]) and whole(ARGV[4]) <= 100, 'load: limit')
  for at = 5, #ARGV, 4 do
    check(#ARGV[at] == 8 and whole(ARGV[at + 1]) and whole(ARGV[at + 2]), 'load: offer')
    check(#ARGV[at + 3] == 19 and not string.find(ARGV[at + 3], '%D'), 'load: position')
  end
else
  check(step == 'clear' and #ARGV == 2, 'load: step')
end
local state = call('HMGET', KEYS[1], 'e', 'o', 'r', 'm')
if state[2] ~= '0' or state[4] ~= epoch or state[3] ~= run_id() then return { 0 } end
if step == 'clear' then
  call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
  call('HSET', KEYS[2], ZEROS, '')
  call('HSET', KEYS[3], ZEROS, '')
  call('ZADD', KEYS[4], 'inf', ZEROS)
  return { 1, 0 }
end
if step == 'buyers' then return { 1, call('HSET', KEYS[2], unpack(ARGV, 3)) } end
local buyers, journaled, due = call('HLEN', KEYS[2]), call('HLEN', KEYS[3]), call('ZCARD', KEYS[4])
if buyers ~= ARGV[3] + 1 or journaled ~= 1 or due ~= 1 then return { 0 } end
local fields = { 'e', epoch, 'o', '1', 'm', epoch, 'r', state[3], 'l', ARGV[4] }
for at = 5, #ARGV, 4 do
  for i, name in ipairs({ 'u', 'a', 'c' }) do
    fields[#fields + 1] = name .. ARGV[at]
    fields[#fields + 1] = ARGV[at + i]
  end
end
call('DEL', KEYS[1])
call('HSET', KEYS[1], unpack(fields))
return { 1, 0 }
