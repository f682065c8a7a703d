-- Prelude of every script: the guard. A lane answers only under the run of the server that it was loaded in, open, and in the
-- caller's epoch; a restart, a failover or a flush therefore closes it by itself, for every client.
-- State fields: e epoch, o open (1 or 0), m marker, r run_id at close and load, l limit per buyer, and for each offer (8 bytes, big
-- endian) u.. units left, a.. known allotment, c.. position of the last change (19 digits), v.. version that asked for a reduction last,
-- t.. units that it was told, w.. units of it that are still out of sale.
local function run_id()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end
-- A whole number that a Lua number holds exactly, or nil: garbage is refused before anything is written.
local function whole(text)
  local number = text and string.match(text, '^%d+$') and tonumber(text)
  return number and number < 9007199254740992 and number or nil
end
local function closed(epoch)
  return { 0, epoch or '0' }
end
