-- mailculator: an index of the emails whose outcome nobody knows. For SQLite 3.38 and later, after 0001.
--
-- `mailculator schema apply` runs this file; so may you, any number of times:
--     sqlite3 -bail ./data/mailculator.db < sql/sqlite/0005_unknown.sql
--
-- It holds those emails alone, so that all others cost it nothing. Whoever looks for them must say it in these words.

CREATE INDEX IF NOT EXISTS emails_unknown ON emails (id)
    WHERE substr(last_error, 1, 15) = 'outcome unknown' OR substr(reason, 1, 15) = 'outcome unknown';

INSERT OR IGNORE INTO mailculator_schema (name) VALUES ('0005_unknown');
