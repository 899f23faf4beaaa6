-- KEYS: slot, and the set of its owner if this script is to note the session in it.
-- ARGV: the expiry, now, the owner whose set that is, until when it is known to have the session, the session's name in it.
-- Gives 0 for gone, 1 for done, and 3 with the owner when the owner's set must have the session until then first.
local held = read(KEYS[1])
local expires_at, now = tonumber(ARGV[1]), tonumber(ARGV[2])
if held.kind == '?' then
  return -1
end
if not is_live(held, now) then
  return 0
end
if expires_at <= held.expires_at then
  return 1
end
if held.owner and held.stale_at == NEVER then
  if held.owner ~= ARGV[3] then
    return { 3, held.owner }
  end
  if KEYS[2] then
    index(KEYS[2], ARGV[5], expires_at, now)
  elseif tonumber(ARGV[4]) < expires_at then
    return { 3, held.owner }
  end
end
local life = lifetime(expires_at, held.stale_at, now)
if life then
  redis.call('SETRANGE', KEYS[1], 21, string.format('%012.0f', expires_at))
  redis.call('PEXPIRE', KEYS[1], life)
else
  redis.call('DEL', KEYS[1])
end
return 1
