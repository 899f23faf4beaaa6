-- KEYS: slot, and the set of the owner if this script is to note the session in it. ARGV: the entry, now, the session's name.
local held = read(KEYS[1])
local now = tonumber(ARGV[2])
if held.kind == '?' then
  return -1
end
if held.kind == 'T' or is_live(held, now) then
  return 0
end
local entry = parse(ARGV[1])
-- The set first: should the server refuse it, nothing has been written.
if KEYS[2] and entry.expires_at > now then
  index(KEYS[2], ARGV[3], entry.expires_at, now)
end
put(KEYS[1], ARGV[1], entry.expires_at, entry.stale_at, now)
return 1
