-- What every script begins with: how a slot is read and put. The layout is that of docs/format.md.
--
-- A script runs as one step: nothing else happens on the server in between. It decides as the steps of slot.rs do.
-- Times are whole seconds since the year 1 and lives are milliseconds, both of which a double holds exactly. Versions may be
-- greater than that, so they stay text: equal text is an equal version, and of two the smaller text is the older.

local HEAD = 81
-- The staleness of an original, which never goes stale.
local NEVER = 315537897599
-- How much longer than an original the server keeps it, so that a process whose clock lags still finds it.
local SLACK_SECS = 60
-- How long after the last moment at which it may be alive a session stays in its owner's index.
local INDEX_SLACK_SECS = 86400

local function number(text, pattern, base)
  return string.find(text, pattern) and tonumber(text, base)
end

-- What the bytes are: `kind` is E, L or T as in the format, or '' for nothing, or '?' for what can't be read.
local function parse(bytes)
  local kind = string.sub(bytes, 1, 4) == 'SES1' and string.sub(bytes, 5, 5)
  if kind == 'L' and #bytes == 36 then
    return { kind = kind, lease = string.sub(bytes, 6, 21) }
  end
  if kind == 'T' and #bytes == 20 then
    return { kind = kind, life = number(string.sub(bytes, 6, 20), '^%d+$', 10) or 0 }
  end
  if kind == 'E' and #bytes >= HEAD then
    local held = {
      kind = kind,
      version = string.sub(bytes, 6, 21),
      expires_at = number(string.sub(bytes, 22, 33), '^%d+$', 10),
      stale_at = number(string.sub(bytes, 34, 45), '^%d+$', 10),
    }
    local total = HEAD
    local from = 58
    for _, width in ipairs({ 4, 4, 8, 8 }) do
      local field = string.sub(bytes, from, from + width - 1)
      local length = string.find(field, '^%-+$') and 0 or number(field, '^%x+$', 16)
      if from == 58 and not string.find(field, '^%-+$') and length then
        held.owner = string.sub(bytes, HEAD + 1, HEAD + length)
      end
      total = total + (length or math.huge)
      from = from + width
    end
    local is_version = string.find(held.version, '^%x+$') or string.find(held.version, '^%-+$')
    if is_version and held.expires_at and held.stale_at and total == #bytes then
      return held
    end
  end
  return { kind = '?' }
end

local function read(key)
  local bytes = redis.pcall('GET', key)
  if not bytes then
    return { kind = '' }
  end
  if type(bytes) == 'table' then
    if string.find(bytes.err, 'WRONGTYPE', 1, true) then
      return { kind = '?' }
    end
    error(bytes.err)
  end
  local held = parse(bytes)
  held.bytes = bytes
  return held
end

-- The entry `bytes` with these two times in its head.
local function timed(bytes, expires_at, stale_at)
  return string.sub(bytes, 1, 21)
    .. string.format('%012.0f%012.0f', expires_at, stale_at)
    .. string.sub(bytes, 46)
end

-- Puts an entry, and has the server forget it some time after it is garbage.
local function put(key, bytes, expires_at, stale_at, now)
  local secs = math.min(expires_at, stale_at) - now
  if secs <= 0 then
    redis.call('DEL', key)
    return
  end
  if stale_at == NEVER then
    secs = secs + SLACK_SECS
  end
  redis.call('SET', key, bytes, 'PX', string.format('%.0f', secs * 1000))
end

local function is_live(held, now)
  return held.kind == 'E' and held.expires_at > now
end

-- Notes in an owner's set that the session `member` may live until `expires_at`. What has been dead for long goes.
local function index(set, member, expires_at, now)
  local noted = redis.call('ZSCORE', set, member)
  if not noted or tonumber(noted) < expires_at then
    redis.call('ZADD', set, string.format('%.0f', expires_at), member)
  end
  redis.call('ZREMRANGEBYSCORE', set, '-inf', string.format('%.0f', now - INDEX_SLACK_SECS))
  local life = (math.max(expires_at - now, 0) + INDEX_SLACK_SECS) * 1000
  if redis.call('PTTL', set) < life then
    redis.call('PEXPIRE', set, string.format('%.0f', life))
  end
end

-- Takes the session out of the set of an owner that it no longer has. The name of that set is made here, which a server that
-- wants all keys declared refuses: then the session stays in it until its time has passed, and readers skip it.
local function unindex(sets, owner, member)
  if owner and sets ~= '' then
    redis.pcall('ZREM', sets .. redis.sha1hex(owner), member)
  end
end
