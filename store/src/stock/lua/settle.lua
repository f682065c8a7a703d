-- Takes decided batches out of the journal, and gone orders out of their buyers' entries; units go
-- back only with a live entry.
-- ARGV  1 epoch, 2 batches (8 bytes each), 3 gone orders, 18 bytes each: buyer 8, order 8, why 1: R
--       released (units back, a tombstone stays, R6), J rejected (units back), S rejected for stock
--       (nothing goes back); units retired 1: of a release above the target so many lower the known
--       allotment instead of going back (R9)
-- Reply {0, epoch} closed | {1}
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due 1 <batch>
--       <buyer><order>R\0
local GONE = 18
check(#KEYS == 4 and #ARGV == 3, 'settle: arity')
local epoch, batches, gone = unpack(ARGV)
check(#batches % 8 == 0 and #gone % GONE == 0, 'settle: lengths')
local ids = {}
for p = 1, #batches, 8 do
  ids[#ids + 1] = sub(batches, p, p + 7)
  check(ids[#ids] ~= ZEROS, 'settle: batch')
end
local state = call('HMGET', KEYS[1], 'e', 'o', 'r')
if not open(state) or state[1] ~= epoch then return closed(state) end

local entries, changed, units, fields, known = {}, {}, {}, {}, {}
for p = 1, #gone, GONE do
  local buyer, order, why, retired = sub(gone, p, p + 7), sub(gone, p + 8, p + 15), sub(gone, p + 16, p + 16), byte(gone, p + 17)
  check((why == 'R' or why == 'J' or why == 'S') and buyer ~= ZEROS, 'settle: gone')
  local entry = entries[buyer] or call('HGET', KEYS[2], buyer) or ''
  if #entry % ENTRY ~= 0 then return damaged(state) end
  for e = 1, #entry, ENTRY do
    local number, quantity = byte(entry, e, e + 1)
    if number ~= 0 and sub(entry, e + 26, e + 33) == order then
      local tombstone = why == 'R' and '\0' .. sub(entry, e + 1, e + 41) or ''
      if not entries[buyer] then changed[#changed + 1] = buyer end
      entries[buyer] = sub(entry, 1, e - 1) .. tombstone .. sub(entry, e + ENTRY)
      local offer = sub(entry, e + 18, e + 25)
      local field = 'u' .. offer
      if why == 'R' and retired > 0 then
        retired = math.min(retired, quantity)
        quantity = quantity - retired
        local allotment = known[offer] or call('HGET', KEYS[1], 'a' .. offer)
        if allotment then
          allotment = stored(allotment)
          if not allotment then return damaged(state) end
          known[offer] = math.max(0, allotment - retired)
        end
      end
      if why ~= 'S' then
        if not units[field] then
          fields[#fields + 1] = field
          local left = call('HGET', KEYS[1], field)
          units[field] = left and stored(left)
          if left and not units[field] then return damaged(state) end
        end
        if units[field] then units[field] = units[field] + quantity end
      end
      break
    end
  end
end

for at = 1, #ids, 1000 do
  local last = math.min(at + 999, #ids)
  call('HDEL', KEYS[3], unpack(ids, at, last))
  call('ZREM', KEYS[4], unpack(ids, at, last))
end
for _, field in ipairs(fields) do
  if units[field] then call('HSET', KEYS[1], field, units[field]) end
end
for offer, allotment in pairs(known) do call('HSET', KEYS[1], 'a' .. offer, allotment) end
for _, buyer in ipairs(changed) do
  if entries[buyer] == '' then
    call('HDEL', KEYS[2], buyer)
  else
    call('HSET', KEYS[2], buyer, entries[buyer])
  end
end
return { 1 }
