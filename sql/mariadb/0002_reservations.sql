-- mailculator, schema 0002: the reservations, by which an id that stands in two stores is sent by one of them.
--
-- One row for each email that a sender has claimed, on MariaDB or on another store: it names the store that may send
-- it. Rows are deleted by the service when keep_until has passed and the email is gone. Needs MariaDB 10.11 or later,
-- and 0001. Either
--
--     mailculator schema apply
--     mariadb <options> <database> < 0002_reservations.sql
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

-- Ids are compared byte by byte, as the other store does it: two emails of its own that differ in case are two.
CREATE TABLE IF NOT EXISTS mailculator_reservations (
  email_id    VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
  store       VARCHAR(32)  NOT NULL COMMENT 'the one that may send it',
  reserved_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) COMMENT 'when that store claimed it last',
  settled     TINYINT(1)   NOT NULL DEFAULT 0 COMMENT 'the other store has been looked at, or refused',
  keep_until  BIGINT       NOT NULL COMMENT 'epoch seconds',
  PRIMARY KEY (email_id),
  KEY idx_mailculator_reservations_keep (keep_until)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;

INSERT IGNORE INTO mailculator_schema (name) VALUES ('0002_reservations');

DO RELEASE_LOCK(CONCAT('mailculator.', MD5(DATABASE())));
