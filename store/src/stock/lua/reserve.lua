-- Decides requests in their order and journals what it promised, in one call.
-- ARGV  1 epoch, 2 batch (8 bytes), 3 due time (ms), 4 journal limit, 5 head of the batch's bytes,
--       6 offers asked for (8 bytes each), 7 requests, 53 bytes each: buyer 8, index of the offer 1
--       (from 0), length of the field 2, and the purchase (42 bytes) as it stands in the entry of a
--       buyer who has none yet: number 1; 8 their fields, one after the other
-- Reply {0, epoch} closed | {2} journal full | {1, codes, extras, {units left of each offer}}
--       codes: a byte for each request: 1 to 100 reserved under that number, else with so many
--       bytes in extras: 201 repeat in flight and 202 repeat settled (order 8, batch 8), 203
--       mismatch (order 8), 204 limit (units held 8), 205 sold out (units left 8), 206 repeat of a
--       released order (order 8)
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due 1 <batch> 1700000005000
--       4096 <head> <offer> <request> <field>
local REQUEST = 53
local IN_FLIGHT, SETTLED, MISMATCH, LIMIT, SOLD_OUT, RELEASED = 201, 202, 203, 204, 205, 206
local TOMBSTONES_MAX = 64

check(#KEYS == 4 and #ARGV == 8, 'reserve: arity')
local epoch, batch, due_at, journal_max, head, offers, requests, fields = unpack(ARGV)
due_at, journal_max = whole(due_at), whole(journal_max)
local wishes, offer_count = #requests / REQUEST, #offers / 8
check(#batch == 8 and batch ~= ZEROS and head ~= '', 'reserve: batch')
check(wishes % 1 == 0 and wishes >= 1 and wishes <= 256, 'reserve: requests')
check(offer_count % 1 == 0 and offer_count >= 1 and offer_count <= 256, 'reserve: offers')
local who, total = {}, 0
for i = 1, wishes do
  local p = i * REQUEST - REQUEST + 1
  local index, high, low, number, quantity = byte(requests, p + 8, p + 12)
  who[i] = sub(requests, p, p + 7)
  total = total + high * 256 + low
  if index >= offer_count or number ~= 1 or quantity == 0 or who[i] == ZEROS then check(false, 'reserve: request ' .. i) end
end
check(total == #fields, 'reserve: fields')

local names = { 'e', 'o', 'r', 'l' }
for i = 1, offer_count do names[4 + i] = 'u' .. sub(offers, i * 8 - 7, i * 8) end
local state = call('HMGET', KEYS[1], unpack(names))
local journaled = open(state)
if not journaled or state[1] ~= epoch then return closed(state) end
local limit = stored(state[4])
if not limit then return damaged(state) end
local held_by = call('HMGET', KEYS[2], unpack(who))

-- Looks at the purchases of a buyer who has some: the number of the next one, or nil with code and
-- extra, or nothing at all if this very request is found, from before this call. A broken entry is
-- nil and false.
local function look(entry, before, p, quantity, promised)
  local held, tombstones, taken = 0, 0, {}
  if #entry % ENTRY ~= 0 then return nil, false end
  local key = sub(requests, p + 13, p + 28)
  for e = 1, #entry, ENTRY do
    local number, units = byte(entry, e, e + 1)
    if sub(entry, e + 2, e + 17) == key then
      local order, of = sub(entry, e + 26, e + 33), sub(entry, e + 34, e + 41)
      if promised and e <= before and order == sub(requests, p + 37, p + 44) then return nil, nil end
      -- Quantity, key and offer in one.
      if sub(entry, e + 1, e + 25) ~= sub(requests, p + 12, p + 36) then return nil, MISMATCH, order end
      if number == 0 then return nil, RELEASED, order end
      -- What this very call has promised is journaled at its end.
      local in_flight = promised and of == batch or of ~= ZEROS and call('HEXISTS', KEYS[3], of) == 1
      return nil, in_flight and IN_FLIGHT or SETTLED, order .. of
    end
    if number == 0 then
      tombstones = tombstones + 1
    else
      held = held + units
      taken[number] = true
    end
  end
  if tombstones >= TOMBSTONES_MAX or held + quantity > limit then return nil, LIMIT, struct.pack('>I8', held) end
  local number = 1
  while taken[number] do number = number + 1 end
  return number
end

-- Decides all requests without writing: what is to be written, nil if the call ran before, or false
-- if the lane is damaged. Without `promise` nothing new is promised. Lists are counted by hand:
-- asking one for its length is a search.
local function decide(promise)
  -- Buyer and entry in turn, and where each buyer stands.
  local left, entries, at = {}, {}, {}
  local codes, extras, numbers, accepted = {}, {}, {}, {}
  local changed, said, promised, sold_out = 0, 0, 0, {}
  for i = 1, offer_count do
    left[i] = not state[4 + i] and 0 or stored(state[4 + i])
    if not left[i] then return false end
  end
  local field, from = 1, nil
  for i = 1, wishes do
    local p = i * REQUEST - REQUEST + 1
    local index, high, low, _, quantity = byte(requests, p + 8, p + 12)
    index = index + 1
    local buyer = who[i]
    local before, place = held_by[i] or '', at[buyer]
    local entry = place and entries[place] or before
    local number, code, extra = 1, nil, nil
    if entry ~= '' then
      number, code, extra = look(entry, #before, p, quantity, promise)
      if not number and not code then return code end
    elseif quantity > limit then
      number, code, extra = nil, LIMIT, ZEROS
    end
    if number and (left[index] < quantity or not promise) then
      sold_out[index] = sold_out[index] or struct.pack('>I8', left[index])
      number, code, extra = nil, SOLD_OUT, sold_out[index]
    end
    if number then
      left[index], sold_out[index] = left[index] - quantity, nil
      if not place then
        place, changed = changed + 2, changed + 2
        entries[place - 1], at[buyer] = buyer, place
      end
      if entry == '' then
        entries[place] = sub(requests, p + 11, p + 52)
      else
        entries[place] = entry .. string.char(number) .. sub(requests, p + 12, p + 52)
      end
      promised = promised + 1
      numbers[promised] = number
      codes[i] = number
      from = from or field
    else
      codes[i] = code
      said = said + 1
      extras[said] = extra
      -- Fields that stand next to each other are copied in one piece.
      if from then accepted[#accepted + 1] = sub(fields, from, field - 1) end
      from = nil
    end
    field = field + high * 256 + low
  end
  if from then accepted[#accepted + 1] = sub(fields, from) end
  return left, entries, codes, extras, numbers, accepted
end

-- A call that ran before, its answer lost, promises nothing twice; nor anything new, for its entry
-- may be in the log already. "Full" says that nothing was promised, so it is not said to such a
-- call.
local left, entries, codes, extras, numbers, accepted
if call('HEXISTS', KEYS[3], batch) == 0 then
  left, entries, codes, extras, numbers, accepted = decide(true)
  if left and journaled >= journal_max then return { 2 } end
end
if left == nil then left, entries, codes, extras, numbers, accepted = decide(false) end
if not left then return damaged(state) end

if #numbers > 0 then
  local units = {}
  for i = 1, offer_count do
    if state[4 + i] then
      units[#units + 1] = names[4 + i]
      units[#units + 1] = left[i]
    end
  end
  -- Field 5 of the batch: its numbers.
  local n = #numbers
  accepted[#accepted + 1] = n < 128 and '\42' .. string.char(n) or '\42' .. string.char(n % 128 + 128, math.floor(n / 128))
  accepted[#accepted + 1] = string.char(unpack(numbers))
  call('HSET', KEYS[1], unpack(units))
  call('HSET', KEYS[2], unpack(entries))
  call('HSET', KEYS[3], batch, head .. table.concat(accepted))
  call('ZADD', KEYS[4], due_at, batch)
end
return { 1, string.char(unpack(codes)), table.concat(extras), left }
