-- mailculator: the count of crashes, by which a mail that kills the process is found. For SQLite 3.38 and later, after
-- 0001.
--
-- `mailculator schema apply` runs this file; so may you, once:
--     sqlite3 -bail ./data/mailculator.db < sql/sqlite/0003_crashes.sql
--
-- SQLite cannot add a column only where it is missing: run again, the file stops at `duplicate column name: crashes`,
-- and changes nothing. Column and record come together or not at all.

SAVEPOINT crashes;

-- Crashes in a row of whoever worked on the email, at the stage where it stands.
ALTER TABLE emails ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;

INSERT OR IGNORE INTO mailculator_schema (name) VALUES ('0003_crashes');

RELEASE crashes;
