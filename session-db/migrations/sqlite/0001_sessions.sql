-- Sessions, one row each. Whoever can read this table can't log in with it: session_key is a hash of the key in the cookie.
-- Moments are unix seconds. payload comes last: SQLite keeps what does not fit on a page in a chain behind it, and what
-- stands before it is read without walking that chain.
CREATE TABLE IF NOT EXISTS "web_sessions" (
    session_key TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    created_at INTEGER,
    owner TEXT,
    label TEXT,
    payload BLOB NOT NULL
) STRICT;

-- For clear_expired.
CREATE INDEX IF NOT EXISTS "web_sessions_expires_at" ON "web_sessions" (expires_at);

-- For lists of an owner's sessions and for ending them. Sessions of nobody are not in it.
CREATE INDEX IF NOT EXISTS "web_sessions_owner" ON "web_sessions" (owner) WHERE owner IS NOT NULL;
