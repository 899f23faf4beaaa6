-- What the scripts that change a record have in common: what becomes of it.

-- What becomes of an expiry.
local function moved(expires_at, how, moment)
  if how == 'set' or (how == 'at_least' and moment > expires_at) then
    return moment
  end
  return expires_at
end

-- The owner that an entry names, which this program has just made.
local function owner_of(entry)
  local bytes = string.sub(entry, 58, 61)
  if bytes ~= '----' then
    return string.sub(entry, HEAD + 1, HEAD + tonumber(bytes, 16))
  end
end

-- Puts an entry, whose own times count for nothing, with this expiry and the staleness of what is held. The server goes on
-- keeping what is `in_place` for as long as it did, if it may.
local function put_changed(key, entry, held, expires_at, now, in_place)
  local times, life = held.times, nil
  if not in_place or expires_at ~= held.expires_at or held.stale_at ~= NEVER then
    life = lifetime(expires_at, held.stale_at, now)
    if not life then
      redis.call('DEL', key)
      return
    end
    times = string.format('%012.0f', expires_at) .. string.sub(times, 13)
  end
  local is_long = #entry > SHORT
  if not is_long then
    entry = string.sub(entry, 1, 21) .. times .. string.sub(entry, 46)
  end
  if life then
    redis.call('SET', key, entry, 'PX', life)
  else
    redis.call('SET', key, entry, 'KEEPTTL')
  end
  if is_long then
    redis.call('SETRANGE', key, 21, times)
  end
end
