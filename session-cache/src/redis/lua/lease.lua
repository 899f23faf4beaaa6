-- KEYS: slot. ARGV: the lease, its life.
local held = read(KEYS[1])
if held.kind == '?' then
  return -1
end
if held.kind ~= '' then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
