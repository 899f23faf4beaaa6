-- KEYS: slot. ARGV: what the sets of owners are called before the owner, the session's name in them.
-- Gives whether there was an entry, and its owner.
local held = read(KEYS[1])
if held.kind == '' or held.kind == 'T' then
  return { 0 }
end
if held.kind == 'L' then
  redis.call('DEL', KEYS[1])
  return { 0 }
end
redis.call('DEL', KEYS[1])
if held.owner and held.stale_at == NEVER then
  unindex(ARGV[1], held.owner, ARGV[2])
  return { 1, held.owner }
end
return { 1 }
