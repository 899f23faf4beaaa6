-- Sessions, one row each. Whoever can read this table can't log in with it: session_key is a hash of the key in the cookie.
-- Moments are unix seconds: an integer means the same in every session time zone. The "C" collation compares bytes, which
-- is faster, and no upgrade of the operating system's locales can change it. The fill factor leaves room on each page for
-- the next state of a row, so that an ordinary save touches no index (a HOT update): it changes neither key, owner nor expiry.
CREATE TABLE IF NOT EXISTS "web_sessions" (
    session_key varchar(40) COLLATE "C" NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    expires_at bigint NOT NULL,
    created_at bigint,
    owner text COLLATE "C",
    label text COLLATE "C",
    payload bytea NOT NULL
) WITH (fillfactor = 70);

-- For clear_expired.
CREATE INDEX IF NOT EXISTS "web_sessions_expires_at" ON "web_sessions" (expires_at);

-- For lists of an owner's sessions and for ending them. Sessions of nobody are not in it.
CREATE INDEX IF NOT EXISTS "web_sessions_owner" ON "web_sessions" (owner) WHERE owner IS NOT NULL;
