-- mailculator, schema 0006: two indexes by which mail of unknown outcome is found.
--
-- They hold the beginning of each email's last error and of its reason, which is where such mail says so. Nearly all emails
-- have neither, and among those the order is that of their making: new ones are put at the end of the index, and what is
-- done is taken from its beginning, so that an email costs it no page of its own. Needs MariaDB 10.11 or later, and 0001.
-- Either
--
--     mailculator schema apply
--     mariadb <options> <database> < 0006_unknown.sql
--
-- It may be run any number of times. The indexes are built while writers go on (INPLACE, LOCK=NONE), and a statement that
-- waits for a lock waits two seconds, so that nobody queues behind it for longer.
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
  ADD INDEX IF NOT EXISTS idx_emails_last_error (last_error(15), created_at),
  ADD INDEX IF NOT EXISTS idx_emails_reason (reason(15), created_at),
  ALGORITHM=INPLACE, LOCK=NONE;

INSERT IGNORE INTO mailculator_schema (name) VALUES ('0006_unknown');

DO RELEASE_LOCK(CONCAT('mailculator.', MD5(DATABASE())));
