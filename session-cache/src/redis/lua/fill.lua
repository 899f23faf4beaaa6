-- KEYS: slot. ARGV: the lease, the entry, now.
local held = read(KEYS[1])
if held.kind == '?' then
  return -1
end
if held.kind ~= 'L' or held.lease ~= ARGV[1] then
  return 0
end
local entry = parse(ARGV[2], #ARGV[2])
put(KEYS[1], ARGV[2], entry.expires_at, entry.stale_at, tonumber(ARGV[3]))
return 1
