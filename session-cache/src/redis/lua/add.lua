-- KEYS: slot, and the set of the owner if this script is to note the session in it. ARGV: the entry, an original, now, the
-- session's name, its expiry.
local now = tonumber(ARGV[2])
if redis.call('EXISTS', KEYS[1]) == 1 then
  local held = read(KEYS[1])
  if held.kind == '?' then
    return -1
  end
  if held.kind == 'T' or is_live(held, now) then
    return 0
  end
end
local expires_at = tonumber(ARGV[4])
-- The set first: should the server refuse it, nothing has been written.
if KEYS[2] and expires_at > now then
  index(KEYS[2], ARGV[3], expires_at, now)
end
put(KEYS[1], ARGV[1], expires_at, NEVER, now)
return 1
