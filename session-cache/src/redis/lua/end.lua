-- KEYS: slot, and the set of the owner where one script may use both. ARGV: the owner, the session's name in the set.
-- Gives 1 for a session of this owner that has ended, 0 for one that was dead, 2 for somebody else's or what can't be read,
-- which are spared.
local held = read(KEYS[1])
if held.kind == '?' or (held.kind == 'E' and held.owner ~= ARGV[1]) then
  return 2
end
if held.kind == 'E' then
  redis.call('DEL', KEYS[1])
end
if KEYS[2] then
  redis.call('ZREM', KEYS[2], ARGV[2])
end
return held.kind == 'E' and 1 or 0
