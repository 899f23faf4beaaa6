-- KEYS: the set of an owner. ARGV: the session's name in it, its expiry, now.
index(KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]))
return 1
