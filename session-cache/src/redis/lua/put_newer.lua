-- KEYS: slot. ARGV: the entry, now.
local held = read(KEYS[1])
if held.kind == '?' then
  return -1
end
if held.kind == 'L' then
  -- Whoever reads the record right now may have read the older one.
  redis.call('DEL', KEYS[1])
  return 0
end
if held.kind ~= 'E' then
  return 0
end
local entry = parse(ARGV[1], #ARGV[1])
local function halves(version)
  return tonumber(string.sub(version, 1, 8), 16), tonumber(string.sub(version, 9, 16), 16)
end
local held_high, held_low = halves(held.version)
local high, low = halves(entry.version)
-- Versions without an order are never older.
if not (held_high and held_low and high and low) then
  return 0
end
if held_high > high or (held_high == high and held_low >= low) then
  return 0
end
put(KEYS[1], ARGV[1], entry.expires_at, entry.stale_at, tonumber(ARGV[2]))
return 1
