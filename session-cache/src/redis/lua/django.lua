-- What every script on the sessions of Django's cache begins with.
--
-- Django keeps a session's data as the value, and nothing else: when the session ends is when the server forgets the key. A
-- script runs as one step: nothing else happens on the server in between. Times are unix seconds.

-- The end of a key that the server never forgets: that of the year 9999.
local NEVER = 253402300799

-- What is kept under the key, or nothing. `is_strange` if it is no string.
local function read(key)
  local bytes = redis.pcall('GET', key)
  if not bytes then
    return nil
  end
  if type(bytes) == 'table' then
    if string.find(bytes.err, 'WRONGTYPE', 1, true) then
      return { is_strange = true }
    end
    error(bytes.err)
  end
  local left = redis.call('PTTL', key)
  local expires_at = NEVER
  if left >= 0 then
    -- EXPIRETIME would say so, but only since Redis 7. To the nearest second, since the two clocks are read one after the other.
    local time = redis.call('TIME')
    local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    expires_at = math.floor((now + left) / 1000 + 0.5)
  end
  return { bytes = bytes, expires_at = expires_at }
end

local function is_live(held, now)
  return held and held.expires_at > now
end

-- What becomes of an expiry.
local function moved(expires_at, how, moment)
  if how == 'set' or (how == 'at_least' and moment > expires_at) then
    return moment
  end
  return expires_at
end

local function put(key, bytes, expires_at, now)
  if expires_at > now then
    redis.call('SET', key, bytes, 'EXAT', string.format('%.0f', expires_at))
  else
    redis.call('DEL', key)
  end
end
