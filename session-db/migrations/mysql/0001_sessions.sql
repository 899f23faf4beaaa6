-- Sessions, one row each. Whoever can read this table can't log in with it: session_key is a hash of the key in the cookie.
-- Moments are unix seconds: an integer means the same in every session time zone, and does not end in 2038. owner and label
-- are text in UTF-8; VARBINARY compares them byte by byte, where every collation that MariaDB and MySQL share takes some
-- owners for the same. One statement, so that the table is there with its indexes or not at all.
CREATE TABLE IF NOT EXISTS `web_sessions` (
    session_key VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    version BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NULL,
    owner VARBINARY(256) NULL,
    label VARBINARY(256) NULL,
    payload LONGBLOB NOT NULL,
    PRIMARY KEY (session_key),
    KEY `web_sessions_expires_at` (expires_at),
    KEY `web_sessions_owner` (owner)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
