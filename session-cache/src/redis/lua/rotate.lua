-- KEYS: the old slot, the new slot, and the set of the new owner if there is one. Never on a cluster, where these may be on
-- different nodes.
-- ARGV: the version expected, the entry, what becomes of the expiry, the moment for it, now, the new session's name in the
-- set, the old one's, what the sets of owners are called before the owner.
-- Gives 0 for gone, 1 for stored, 2 for a conflict, 4 for a new key that is taken.
local held = read(KEYS[1])
local now = tonumber(ARGV[5])
if held.kind == '?' then
  return -1
end
if not is_live(held, now) then
  return 0
end
if held.version ~= ARGV[1] then
  return 2
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  local there = read(KEYS[2])
  if there.kind == '?' then
    return -1
  end
  if there.kind == 'T' or is_live(there, now) then
    return 4
  end
end
local expires_at = moved(held.expires_at, ARGV[3], tonumber(ARGV[4]))
if KEYS[3] and expires_at > now then
  index(KEYS[3], ARGV[6], expires_at, now)
end
put_changed(KEYS[2], ARGV[2], held, expires_at, now, false)
redis.call('DEL', KEYS[1])
unindex(ARGV[8], held.owner, ARGV[7])
return 1
