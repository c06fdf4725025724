-- mailculator: what operators ask for, and which service is there. For SQLite 3.38 and later, after 0001.
--
-- `mailculator schema apply` runs this file; so may you, once:
--     sqlite3 -bail ./data/mailculator.db < sql/sqlite/0004_control.sql
--
-- SQLite cannot add a column only where it is missing: run again, the file stops at `duplicate column name: cancelled`,
-- and changes nothing. All of it comes together or not at all. Times are milliseconds since the epoch, as in 0001.

SAVEPOINT control;

-- Why it is not to be sent, if it is not sent yet.
ALTER TABLE emails ADD COLUMN cancelled TEXT NULL;

-- The emails to one domain, in the order of their ids.
CREATE INDEX IF NOT EXISTS emails_domain ON emails (recipient_domain, id);

-- What is paused: a pipeline, or with `*` all of them; without `until`, until somebody resumes it.
CREATE TABLE IF NOT EXISTS mailculator_pauses (
    pipeline TEXT    NOT NULL PRIMARY KEY,
    since    INTEGER NOT NULL,
    until    INTEGER NULL,
    who      TEXT    NOT NULL,
    why      TEXT    NOT NULL
) STRICT;

-- What operators did that concerns no single email.
CREATE TABLE IF NOT EXISTS mailculator_audit (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    at   INTEGER NOT NULL,
    who  TEXT    NOT NULL,
    what TEXT    NOT NULL,
    why  TEXT    NOT NULL
) STRICT;

-- Which service works here, renewed every few seconds. `facts` is JSON: what it says of itself.
CREATE TABLE IF NOT EXISTS mailculator_replicas (
    replica TEXT    NOT NULL PRIMARY KEY,
    service TEXT    NOT NULL,
    seen_at INTEGER NOT NULL,
    facts   TEXT    NOT NULL
) STRICT;

INSERT OR IGNORE INTO mailculator_schema (name) VALUES ('0004_control');

RELEASE control;
