-- What the scripts that change a record have in common: what becomes of it, and whether it may be written yet.

-- What `entry` makes of the record that is held: the bytes to put, and its expiry. `moved` says what becomes of that.
local function changed(held, entry, moved, moment)
  local expires_at = held.expires_at
  if moved == 'set' or (moved == 'at_least' and moment > expires_at) then
    expires_at = moment
  end
  return timed(entry, expires_at, held.stale_at), expires_at
end

-- Whether the owner's set is known to have the session for as long as it will live. It must, before the record says so:
-- a session that the set does not have can't be found and ended.
local function is_indexed(held, owner, expires_at, indexed_until)
  if not owner or indexed_until >= expires_at then
    return true
  end
  return held.owner == owner and held.expires_at >= expires_at
end
