-- KEYS: slot, and the set of the new owner if this script is to note the session in it.
-- ARGV: the version expected, the entry, what becomes of the expiry, the moment for it, now, until when the owner's set is
-- known to have the session, the session's name in it, what the sets of owners are called before the owner.
-- Gives 0 for gone, 2 for a conflict, 1 for stored with an owner that it no longer has, and 3 with a moment when the set must
-- have the session until then first.
local held = read(KEYS[1])
local now = tonumber(ARGV[5])
if held.kind == '?' then
  return { -1 }
end
if not is_live(held, now) then
  return { 0 }
end
if held.version ~= ARGV[1] or string.find(held.version, '^%-+$') then
  return { 2 }
end
local bytes, expires_at = changed(held, ARGV[2], ARGV[3], tonumber(ARGV[4]))
local owner = parse(bytes).owner
if expires_at > now then
  if KEYS[2] then
    index(KEYS[2], ARGV[7], expires_at, now)
  elseif not is_indexed(held, owner, expires_at, tonumber(ARGV[6])) then
    return { 3, string.format('%.0f', expires_at) }
  end
end
put(KEYS[1], bytes, expires_at, held.stale_at, now)
if held.owner and (held.owner ~= owner or expires_at <= now) then
  unindex(ARGV[8], held.owner, ARGV[7])
  return { 1, held.owner }
end
return { 1 }
