-- mailculator, schema 0003: the minutes, the memory that a cutover is judged by.
--
-- One row for each replica and minute: how many emails stood where, how many came and how many left. Rows older than
-- a week are deleted by the service. Needs MariaDB 10.11 or later, and 0001. Either
--
--     mailculator schema apply
--     mariadb <options> <database> < 0003_minutes.sql
--
-- It may be run any number of times. A new table locks nobody out.
--
-- For the program that reads this file: a statement ends with a semicolon at the end of a line.

SET NAMES utf8mb4 COLLATE utf8mb4_general_ci;

SET SESSION lock_wait_timeout = 2, innodb_lock_wait_timeout = 2, max_statement_time = 0;

-- One run at a time. The name fits whatever the database is called; the lock ends with the session at the latest.
SET @locked = GET_LOCK(CONCAT('mailculator.', MD5(DATABASE())), 600);

SET @sql = IF(@locked = 1, 'DO 0', 'SIGNAL SQLSTATE ''45000'' SET MESSAGE_TEXT =
  ''another run has been changing this schema for ten minutes: look for it in SHOW PROCESSLIST''');
EXECUTE IMMEDIATE @sql;

CREATE TABLE IF NOT EXISTS mailculator_minutes (
  began_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  replica  VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  service  VARCHAR(64)  NOT NULL COMMENT 'version of the service that noted it',
  counts   TEXT         NOT NULL COMMENT 'JSON: status -> [emails, parked, seconds the oldest has been due]',
  entered  INT          NOT NULL COMMENT 'emails claimed for the first time in this minute, by this replica',
  ended    INT          NOT NULL COMMENT 'emails that this replica brought to a terminal status in this minute',
  notes    TEXT         NOT NULL COMMENT 'JSON: name -> text',
  PRIMARY KEY (began_at, replica)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;

INSERT IGNORE INTO mailculator_schema (name) VALUES ('0003_minutes');

DO RELEASE_LOCK(CONCAT('mailculator.', MD5(DATABASE())));
