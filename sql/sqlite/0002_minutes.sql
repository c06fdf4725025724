-- mailculator: the minutes, the memory that a cutover is judged by. For SQLite 3.38 and later, after 0001.
--
-- `mailculator schema apply` runs this file; so may you, any number of times:
--     sqlite3 -bail ./data/mailculator.db < sql/sqlite/0002_minutes.sql
--
-- One row for each replica and minute; times are milliseconds since the epoch, as in 0001. Rows older than a week are
-- deleted by the service.

CREATE TABLE IF NOT EXISTS mailculator_minutes (
    began_at INTEGER NOT NULL,
    replica  TEXT    NOT NULL,
    service  TEXT    NOT NULL,
    -- JSON: status -> [emails, parked, seconds the oldest has been due].
    counts   TEXT    NOT NULL,
    -- Emails claimed for the first time, and emails brought to a terminal status, by this replica in this minute.
    entered  INTEGER NOT NULL,
    ended    INTEGER NOT NULL,
    -- JSON: name -> text.
    notes    TEXT    NOT NULL,
    PRIMARY KEY (began_at, replica)
) STRICT;

INSERT OR IGNORE INTO mailculator_schema (name) VALUES ('0002_minutes');
