-- KEYS: the session, and the new key if it is to move. Never on a cluster, where these may be on different nodes.
-- ARGV: the data expected, with a = before it; the new data; what becomes of the expiry; the moment for it; now.
-- Gives 0 for gone, 1 for stored, 2 for a conflict, 4 for a new key that is taken, -1 for what is no session.
local held = read(KEYS[1])
local now = tonumber(ARGV[5])
if held and held.is_strange then
  return -1
end
if not is_live(held, now) then
  return 0
end
if ARGV[1] ~= '=' .. held.bytes then
  return 2
end
local expires_at = moved(held.expires_at, ARGV[3], tonumber(ARGV[4]))
if KEYS[2] then
  local there = read(KEYS[2])
  if there and there.is_strange then
    return -1
  end
  if is_live(there, now) then
    return 4
  end
  put(KEYS[2], ARGV[2], expires_at, now)
  redis.call('DEL', KEYS[1])
elseif expires_at == held.expires_at then
  -- To the millisecond, as Django set it.
  redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
else
  put(KEYS[1], ARGV[2], expires_at, now)
end
return 1
