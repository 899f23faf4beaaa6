-- KEYS: slot, and the set of the new owner if this script is to note the session in it.
-- ARGV: the version expected, the entry, what becomes of the expiry, the moment for it, now, until when the owner's set is
-- known to have the session, the session's name in it, what the sets of owners are called before the owner.
-- Gives 0 for gone, 2 for a conflict, 1 for stored, the same with an owner that it no longer has, and 3 with a moment when
-- the set must have the session until then first.
local held = read(KEYS[1])
local now = tonumber(ARGV[5])
if held.kind == '?' then
  return -1
end
if not is_live(held, now) then
  return 0
end
if held.version ~= ARGV[1] then
  return 2
end
local expires_at = moved(held.expires_at, ARGV[3], tonumber(ARGV[4]))
local owner = owner_of(ARGV[2])
-- Whether the owner's set is known to have the session for as long as it will live. It must, before the record says so:
-- a session that the set does not have can't be found and ended. A record that has this owner says that the set has it.
local is_indexed = not owner
  or (held.owner == owner and held.expires_at >= expires_at and held.stale_at == NEVER)
if expires_at > now and not is_indexed then
  if KEYS[2] then
    index(KEYS[2], ARGV[7], expires_at, now)
  elseif tonumber(ARGV[6]) < expires_at then
    return { 3, string.format('%.0f', expires_at) }
  end
end
put_changed(KEYS[1], ARGV[2], held, expires_at, now, true)
if held.owner and (held.owner ~= owner or expires_at <= now) then
  unindex(ARGV[8], held.owner, ARGV[7])
  return { 1, held.owner }
end
return 1
