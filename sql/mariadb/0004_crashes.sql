-- mailculator, schema 0004: the count of crashes, by which a mail that kills the process is found.
--
-- Needs MariaDB 10.11 or later, and 0001. Either
--
--     mailculator schema apply
--     mariadb <options> <database> < 0004_crashes.sql
--
-- It may be run any number of times. The column is added without touching a row (INSTANT), and a statement that waits
-- for a lock waits two seconds, so that nobody queues behind it for longer.
--
-- For the program that reads this file: a statement ends with a semicolon at the end of a line.

SET NAMES utf8mb4 COLLATE utf8mb4_general_ci;

SET SESSION lock_wait_timeout = 2, innodb_lock_wait_timeout = 2, max_statement_time = 0;

-- One run at a time. The name fits whatever the database is called; the lock ends with the session at the latest.
SET @locked = GET_LOCK(CONCAT('mailculator.', MD5(DATABASE())), 600);

SET @sql = IF(@locked = 1, 'DO 0', 'SIGNAL SQLSTATE ''45000'' SET MESSAGE_TEXT =
  ''another run has been changing this schema for ten minutes: look for it in SHOW PROCESSLIST''');
EXECUTE IMMEDIATE @sql;

ALTER TABLE emails
  ADD COLUMN IF NOT EXISTS crashes INT NOT NULL DEFAULT 0 COMMENT 'crashes in a row of whoever worked on it, at this stage',
  ALGORITHM=INSTANT, LOCK=NONE;

INSERT IGNORE INTO mailculator_schema (name) VALUES ('0004_crashes');

DO RELEASE_LOCK(CONCAT('mailculator.', MD5(DATABASE())));
