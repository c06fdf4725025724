-- mailculator: the queue, for SQLite 3.38 and later.
--
-- `mailculator schema apply` runs this file; so may you, any number of times:
--     sqlite3 -bail ./data/mailculator.db < sql/sqlite/0001_queue.sql
--
-- Times are milliseconds since the epoch, UTC, from SQLite's own clock; to read one:
--     SELECT datetime(created_at / 1000, 'unixepoch') FROM emails;
-- Only `ttl` is in seconds, since producers write it.

CREATE TABLE IF NOT EXISTS emails (
    id                TEXT    NOT NULL PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 36),
    status            TEXT    NOT NULL CHECK (status IN (
                          'ACCEPTED', 'INTAKING', 'READY', 'PROCESSING', 'SENT', 'FAILED', 'INVALID',
                          'CALLING-SENT-CALLBACK', 'CALLING-FAILED-CALLBACK', 'SENT-ACKNOWLEDGED',
                          'FAILED-ACKNOWLEDGED')),
    eml_file_path     TEXT    NULL CHECK (length(eml_file_path) <= 500),
    payload_file_path TEXT    NULL CHECK (length(payload_file_path) <= 500),
    reason            TEXT    NULL,
    version           INTEGER NOT NULL DEFAULT 1,
    ttl               INTEGER NULL,
    created_at        INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)),
    updated_at        INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)),
    -- The service's own columns. A producer need not know them.
    attempts          INTEGER NOT NULL DEFAULT 0,
    generation        INTEGER NOT NULL DEFAULT 0,
    due_at            INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)),
    parked            INTEGER NOT NULL DEFAULT 0 CHECK (parked IN (0, 1)),
    claim_token       TEXT    NULL,
    claimed_by        TEXT    NULL,
    lease_until       INTEGER NULL,
    lease_version     INTEGER NULL,
    failing_since     INTEGER NULL,
    last_error        TEXT    NULL,
    reached_at        INTEGER NULL,
    recipient_domain  TEXT    NULL
) STRICT;

-- Claims and counts.
CREATE INDEX IF NOT EXISTS emails_due ON emails (status, parked, due_at);

-- Retention.
CREATE INDEX IF NOT EXISTS emails_ttl ON emails (status, ttl);

CREATE TABLE IF NOT EXISTS email_status_history (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    email_id   TEXT    NOT NULL REFERENCES emails (id) ON DELETE CASCADE,
    status     TEXT    NOT NULL CHECK (length(status) <= 50),
    reason     TEXT    NULL,
    created_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)),
    version    INTEGER NULL,
    UNIQUE (email_id, version)
) STRICT;

CREATE TABLE IF NOT EXISTS mailculator_schema (
    name       TEXT    NOT NULL PRIMARY KEY,
    applied_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER))
) STRICT;

CREATE TABLE IF NOT EXISTS mailculator_meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- The record of the schema: which files were applied, and the oldest service version they serve. A later file raises
-- `oldest_service` by an UPDATE; this one must not, since it may be applied again after that.
INSERT OR IGNORE INTO mailculator_schema (name) VALUES ('0001_queue');
INSERT OR IGNORE INTO mailculator_meta (name, value) VALUES ('oldest_service', '0.1.0');
