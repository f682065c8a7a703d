-- Decides requests in their order and journals what it promised, in one call.
-- KEYS  state, buyers, journal, due
-- ARGV  1 epoch, 2 batch id (8 bytes), 3 due time (ms), 4 journal limit, 5 head of the batch, 6 number of offers, then the offers
--       (8 bytes each), then for each request: buyer, fixed (order id 8, index of the offer 1, quantity 1, key hash 16), field
-- Reply {0, epoch} closed | {2} journal full | {1, codes, extras, left}: a byte for each request: 1..100 reserved under that number,
--       else 240 repeat, 241 mismatch, 242 limit, 243 sold out, with one extra each: order..batch..settled (1 byte) | order | units held |
--       units left; then units left of each offer.
-- e.g.  EVALSHA sha 4 fs:{7}:state fs:{7}:buyers fs:{7}:journal fs:{7}:due 1 <id> 1700000005000 4096 <head> 1 <offer> 42 <fixed> <field>
-- An entry of a buyer has 42 bytes: order 8, batch 8 (zeros when loaded), offer 8, key 16, quantity 1, number 1 (0: tombstone).
local FIRST = 7
local offers_n = whole(ARGV[6])
local first = FIRST + (offers_n or 0)
if #KEYS ~= 4 or not offers_n or offers_n < 1 or offers_n > 64 or #ARGV < first + 2 or (#ARGV - first + 1) % 3 ~= 0 then
  return redis.error_reply('ERR reserve: arity')
end
local due_at, journal_max = whole(ARGV[3]), whole(ARGV[4])
local requests = (#ARGV - first + 1) / 3
if #ARGV[2] ~= 8 or not due_at or not journal_max or requests > 256 then
  return redis.error_reply('ERR reserve: batch')
end
local fields = { 'e', 'o', 'r', 'l' }
for i = 1, offers_n do fields[4 + i] = 'u' .. ARGV[FIRST + i - 1] end
local state = redis.call('HMGET', KEYS[1], unpack(fields))
if state[2] ~= '1' or state[1] ~= ARGV[1] or state[3] ~= run_id() then return closed(state[1]) end
local is_full = redis.call('HLEN', KEYS[3]) >= journal_max
redis.call('ZCARD', KEYS[4])
local limit = tonumber(state[4])
local left = {}
for i = 1, offers_n do left[i] = tonumber(state[4 + i]) or 0 end
local names = {}
for i = 1, requests do
  local at = first + (i - 1) * 3
  local fixed = ARGV[at + 1]
  local offer = #fixed == 26 and string.byte(fixed, 9)
  if not offer or offer < 1 or offer > offers_n or string.byte(fixed, 10) < 1 then
    return redis.error_reply('ERR reserve: request ' .. i)
  end
  names[i] = ARGV[at]
end
local stored = redis.call('HMGET', KEYS[2], unpack(names))
local batch = ARGV[2]
-- A call that ran before and whose answer was lost: its batch is in the journal, or a request finds its own order. (The batch alone does
-- not tell it: a sweeper may have brought it into the log, and its settlement taken it out again.)
local repeated = redis.call('HEXISTS', KEYS[3], batch) == 1
for i = 1, repeated and 0 or requests do
  local entry = stored[i]
  if entry then
    local fixed = ARGV[first + (i - 1) * 3 + 1]
    local order, key = string.sub(fixed, 1, 8), string.sub(fixed, 11, 26)
    for p = 1, #entry, 42 do
      if string.sub(entry, p, p + 7) == order and string.sub(entry, p + 24, p + 39) == key then repeated = true end
    end
  end
end
if is_full and not repeated then return { 2 } end
local entries, codes, extras, taken, numbers, touched = {}, {}, {}, {}, {}, {}
for i = 1, requests do
  local at = first + (i - 1) * 3
  local buyer, fixed = ARGV[at], ARGV[at + 1]
  local entry = entries[buyer]
  if entry == nil then entry = stored[i] or '' end
  local offer, quantity, key = string.byte(fixed, 9), string.byte(fixed, 10), string.sub(fixed, 11, 26)
  local offer_id = ARGV[FIRST + offer - 1]
  local code, extra
  local held, tombstones, used = 0, 0, {}
  for p = 1, #entry, 42 do
    local units, number = string.byte(entry, p + 40, p + 41)
    if string.sub(entry, p + 24, p + 39) == key then
      local order, of = string.sub(entry, p, p + 7), string.sub(entry, p + 8, p + 15)
      if string.sub(entry, p + 16, p + 23) ~= offer_id or units ~= quantity then
        code, extra = 241, order
      else
        local settled = (repeated or of ~= batch) and (of == '\0\0\0\0\0\0\0\0' or redis.call('HEXISTS', KEYS[3], of) == 0)
        code, extra = 240, order .. of .. (settled and '\1' or '\0')
      end
      break
    end
    if number == 0 then tombstones = tombstones + 1 else held = held + units; used[number] = true end
  end
  if not code then
    if tombstones >= 64 or held + quantity > limit then
      code, extra = 242, string.format('%d', held)
    elseif left[offer] < quantity or repeated then
      -- A call that is repeated promises nothing new: what it did not promise then it refused.
      code, extra = 243, string.format('%d', left[offer])
    else
      code = 1
      while used[code] do code = code + 1 end
      left[offer] = left[offer] - quantity
      touched[offer] = true
      entries[buyer] = entry .. string.sub(fixed, 1, 8) .. batch .. offer_id .. key .. string.char(quantity, code)
      taken[#taken + 1] = ARGV[at + 2]
      numbers[#numbers + 1] = code
    end
  end
  codes[i] = code
  if extra then extras[#extras + 1] = extra end
end
local n = #numbers
if n > 0 then
  local bytes = string.char(unpack(numbers))
  local size = n < 128 and string.char(n) or string.char(n % 128 + 128, math.floor(n / 128))
  local changed = {}
  for buyer, entry in pairs(entries) do
    changed[#changed + 1] = buyer
    changed[#changed + 1] = entry
  end
  local units = {}
  for offer in pairs(touched) do
    units[#units + 1] = fields[4 + offer]
    units[#units + 1] = left[offer]
  end
  redis.call('HSET', KEYS[1], unpack(units))
  redis.call('HSET', KEYS[2], unpack(changed))
  -- Field 5 of the batch: the purchase numbers.
  redis.call('HSET', KEYS[3], batch, ARGV[5] .. table.concat(taken) .. '\42' .. size .. bytes)
  redis.call('ZADD', KEYS[4], due_at, batch)
end
local lefts = {}
for i = 1, offers_n do lefts[i] = string.format('%d', left[i]) end
return { 1, string.char(unpack(codes)), extras, lefts }
