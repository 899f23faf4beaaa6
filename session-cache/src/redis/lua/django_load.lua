-- KEYS: the session. Gives nothing, the data and when it ends, or -1 for what is no session.
local held = read(KEYS[1])
if not held then
  return false
end
if held.is_strange then
  return { -1 }
end
return { held.bytes, held.expires_at }
