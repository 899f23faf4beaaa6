-- How the sets of owners are kept.

-- How long after the last moment at which it may be alive a session stays in its owner's index.
local INDEX_SLACK_SECS = 86400

-- Notes in an owner's set that the session `member` may live until `expires_at`. What has been dead for long goes.
local function index(set, member, expires_at, now)
  redis.call('ZADD', set, 'GT', string.format('%.0f', expires_at), member)
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
