-- Prelude of every script: the guard. A lane answers only while it is open, complete, and in the
-- run of the server that it was loaded in; a restart, a failover, a flush or a lost key therefore
-- closes it by itself, for every client.
-- KEYS  of every script: 1 state, 2 buyers, 3 journal, 4 due
--   state    e epoch, o open (1 or 0), m marker, r run_id at close and load, l limit per buyer, p
--            position of the last change of the limit told here (19 digits; absent: none); for each
--            offer (8 bytes, big endian) u.. units left, a.. known allotment, c.. position of its
--            last change (19 digits), w.. units withheld
--   buyers   buyer (8 bytes) -> a purchase of 42 bytes after the other: number 1 (0: tombstone),
--            quantity 1, key hash 16, offer 8, order 8, batch 8 (zeros: loaded from its row)
--   journal  batch (8 bytes) -> its bytes
--   due      batch by the time at which a sweeper may take it
-- Each of the last three holds one field of zeros from load on, so that a lost key is told from an
-- empty one. Ids travel as bytes because they do not fit a Lua number.
local call, byte, sub = redis.call, string.byte, string.sub
local ZEROS = '\0\0\0\0\0\0\0\0'
local ENTRY = 42

-- Ends the script with an error. Every check comes before the first write.
local function check(holds, what)
  if not holds then error(what, 0) end
end

-- A whole number that a Lua number holds exactly, of digits alone.
local function whole(text)
  local number = not string.find(text, '%D') and tonumber(text)
  check(number and number <= 9007199254740991, 'not a whole number: ' .. text)
  return number
end

-- A whole number that stands in a key, nil for anything else: what a key holds is not the caller's
-- fault.
local function stored(text)
  local number = text and not string.find(text, '%D') and tonumber(text)
  return number and number <= 9007199254740991 and number or nil
end

-- 40 characters. A plain search: a pattern would cost as much as INFO itself, 5 us.
local function run_id()
  local info = call('INFO', 'server')
  local _, at = string.find(info, 'run_id:', 1, true)
  return sub(info, at + 1, at + 40)
end

-- The number of journal entries of an open lane, nil of a closed one. `state` begins with the
-- fields e, o, r.
local function open(state)
  if state[2] ~= '1' or state[3] ~= run_id() then return nil end
  local journaled = call('HLEN', KEYS[3])
  if journaled == 0 or call('ZCARD', KEYS[4]) == 0 or call('HEXISTS', KEYS[2], ZEROS) == 0 then return nil end
  return journaled - 1
end

-- The reply of a closed lane.
local function closed(state)
  return { 0, stored(state[1]) or 0 }
end

-- The reply of an open lane that holds what no script of ours writes: it closes, before anything
-- else is written, so that its keeper rebuilds it from ledger and rows.
local function damaged(state)
  call('HSET', KEYS[1], 'o', '0')
  return closed(state)
end
