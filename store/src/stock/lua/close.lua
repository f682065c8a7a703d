-- R3: closes the lane under a marker. From then on its journal cannot grow; buyers and journal
-- stay, to be drained. A key of another type, and a state without a readable epoch or marker, is as
-- good as lost: it is renamed, for people to look at, and forgotten after a week. Of each key the
-- last one is kept.
-- ARGV  1 epoch
-- Reply {1} closed | {2, epoch} refused: open at that epoch | {3, marker} refused: a higher marker
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due 2
check(#KEYS == 4 and #ARGV == 1, 'close: arity')
local epoch = whole(ARGV[1])
local WEEK_S = 604800
local function set_aside(key)
  call('RENAME', key, key .. ':damaged')
  call('EXPIRE', key .. ':damaged', WEEK_S)
end
for i, wanted in ipairs({ 'hash', 'hash', 'hash', 'zset' }) do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= wanted and found ~= 'none' then set_aside(KEYS[i]) end
end
local state = call('HMGET', KEYS[1], 'e', 'o', 'r', 'm')
local at, marker = stored(state[1] or '0'), stored(state[4] or '0')
if not at or not marker then
  set_aside(KEYS[1])
  state, at, marker = {}, 0, 0
end
if at >= epoch and open(state) then return { 2, at } end
if marker > epoch then return { 3, marker } end
call('HSET', KEYS[1], 'o', '0', 'm', ARGV[1], 'r', run_id())
return { 1 }
