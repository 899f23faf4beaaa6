-- How an entry is put as it is.

-- Puts an entry, and has the server forget it some time after it is garbage.
local function put(key, entry, expires_at, stale_at, now)
  local life = lifetime(expires_at, stale_at, now)
  if life then
    redis.call('SET', key, entry, 'PX', life)
  else
    redis.call('DEL', key)
  end
end
