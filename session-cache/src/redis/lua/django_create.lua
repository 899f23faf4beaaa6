-- KEYS: the session. ARGV: the data, when it ends, now.
-- Gives 1 for done, 0 for a key that is taken, -1 for what is no session.
local held = read(KEYS[1])
local now = tonumber(ARGV[3])
if held and held.is_strange then
  return -1
end
if is_live(held, now) then
  return 0
end
put(KEYS[1], ARGV[1], tonumber(ARGV[2]), now)
return 1
