-- KEYS: the session. ARGV: when it is to end, now. Gives 0 for gone, 1 for done, -1 for what is no session.
local held = read(KEYS[1])
if held and held.is_strange then
  return -1
end
if not is_live(held, tonumber(ARGV[2])) then
  return 0
end
if tonumber(ARGV[1]) > held.expires_at then
  redis.call('EXPIREAT', KEYS[1], ARGV[1])
end
return 1
