-- What every script begins with: how a slot is read and put. The layout is that of docs/format.md.
--
-- A script runs as one step: nothing else happens on the server in between. It decides as the steps of slot.rs do.
-- Times are whole seconds since the year 1 and lives are milliseconds, both of which a double holds exactly. Versions may be
-- greater than that, so they stay text: equal text is an equal version, and of two the smaller text is the older.
--
-- Each call of the server, each text and each function that a script makes costs it about as much as reading a key does, and
-- a text is copied whole. So a slot is read by its first bytes alone, and a long one is changed where it is.

local HEAD = 81
-- Up to here a slot is read at once, and written in one piece.
local SHORT = 4096
-- The staleness of an original, which never goes stale.
local NEVER = 315537897599
-- How much longer than an original the server keeps it, so that a process whose clock lags still finds it.
local SLACK_SECS = 60

-- Version, expiry, staleness, and how long owner, label, a version that is no number, and data are.
local ENTRY = '^SES1E(%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x)(%d%d%d%d%d%d%d%d%d%d%d%d)(%d%d%d%d%d%d%d%d%d%d%d%d)............(....)(....)(........)(%x%x%x%x%x%x%x%x)'
-- The same without a number for a version.
local UNNUMBERED = '^SES1E(%-%-%-%-%-%-%-%-%-%-%-%-%-%-%-%-)(%d%d%d%d%d%d%d%d%d%d%d%d)(%d%d%d%d%d%d%d%d%d%d%d%d)............(....)(....)(........)(%x%x%x%x%x%x%x%x)'

-- A length as the head has it; nothing for what is none.
local function length(field)
  if string.find(field, '^%-+$') then
    return 0
  end
  return string.find(field, '^%x+$') and tonumber(field, 16)
end

-- What the bytes are: `kind` is E, L or T as in the format, or '?' for what can't be read. There may be more of them
-- than are in `head`: `size` in all.
local function parse(head, size)
  local version, expires_at, stale_at, owner, label, content, data = string.match(head, ENTRY)
  if not version then
    if size == 36 and string.sub(head, 1, 5) == 'SES1L' then
      return { kind = 'L', lease = string.sub(head, 6, 21) }
    elseif size == 20 and string.sub(head, 1, 5) == 'SES1T' then
      local life = string.sub(head, 6, 20)
      return { kind = 'T', life = string.find(life, '^%d+$') and tonumber(life) or 0 }
    end
    version, expires_at, stale_at, owner, label, content, data = string.match(head, UNNUMBERED)
  end
  if not version then
    return { kind = '?' }
  end
  local total = HEAD + tonumber(data, 16)
  local owner_bytes = nil
  if owner ~= '----' then
    owner_bytes = length(owner) or math.huge
    total = total + owner_bytes
  end
  if label ~= '----' then
    total = total + (length(label) or math.huge)
  end
  if content ~= '--------' then
    total = total + (length(content) or math.huge)
  end
  if total ~= size then
    return { kind = '?' }
  end
  return {
    kind = 'E',
    version = version,
    expires_at = tonumber(expires_at),
    stale_at = tonumber(stale_at),
    times = expires_at .. stale_at,
    owner_bytes = owner_bytes,
    owner = owner_bytes and string.sub(head, HEAD + 1, HEAD + owner_bytes),
  }
end

-- What is kept under the key. `kind` may also be '' for nothing.
local function read(key)
  local head = redis.pcall('GETRANGE', key, 0, SHORT - 1)
  if type(head) == 'table' then
    if string.find(head.err, 'WRONGTYPE', 1, true) then
      return { kind = '?' }
    end
    error(head.err)
  end
  local size = #head
  if size == 0 then
    return { kind = redis.call('EXISTS', key) == 1 and '?' or '' }
  elseif size < SHORT then
    return parse(head, size)
  end
  local held = parse(head, redis.call('STRLEN', key))
  if held.owner and #held.owner < held.owner_bytes then
    held.owner = redis.call('GETRANGE', key, HEAD, HEAD + held.owner_bytes - 1)
  end
  return held
end

-- For how many milliseconds the server is to keep an entry with these times; nothing for one that is garbage.
local function lifetime(expires_at, stale_at, now)
  local secs = math.min(expires_at, stale_at) - now
  if secs <= 0 then
    return nil
  end
  if stale_at == NEVER then
    secs = secs + SLACK_SECS
  end
  return string.format('%.0f', secs * 1000)
end

local function is_live(held, now)
  return held.kind == 'E' and held.expires_at > now
end
