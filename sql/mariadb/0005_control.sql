-- mailculator, schema 0005: what operators ask for, and which replicas are there.
--
-- A mark on emails that are to be cancelled before they are sent, an index by which they are found by their recipient's
-- domain, and three small tables: what is paused, what operators did that concerns no single email, and one row for each
-- replica, which it renews every few seconds. Needs MariaDB 10.11 or later, and 0001. Either
--
--     mailculator schema apply
--     mariadb <options> <database> < 0005_control.sql
--
-- It may be run any number of times. The column is added without touching a row (INSTANT), the index is built while
-- writers go on (INPLACE, LOCK=NONE), and a statement that waits for a lock waits two seconds, so that nobody queues behind
-- it for longer.
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
  ADD COLUMN IF NOT EXISTS cancelled TEXT NULL COMMENT 'why it is not to be sent, if it is not sent yet',
  ALGORITHM=INSTANT, LOCK=NONE;

ALTER TABLE emails
  ADD INDEX IF NOT EXISTS idx_emails_domain (recipient_domain, id),
  ALGORITHM=INPLACE, LOCK=NONE;

CREATE TABLE IF NOT EXISTS mailculator_pauses (
  pipeline VARCHAR(32)  NOT NULL COMMENT '* = all of them',
  since    TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  until    TIMESTAMP(6) NULL COMMENT 'NULL = until somebody resumes it',
  who      TEXT         NOT NULL,
  why      TEXT         NOT NULL,
  PRIMARY KEY (pipeline)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS mailculator_audit (
  id   BIGINT       NOT NULL AUTO_INCREMENT,
  at   TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  who  TEXT         NOT NULL,
  what TEXT         NOT NULL,
  why  TEXT         NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS mailculator_replicas (
  replica VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  service VARCHAR(64)  NOT NULL COMMENT 'its version',
  seen_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  facts   TEXT         NOT NULL COMMENT 'JSON: what it says of itself',
  PRIMARY KEY (replica)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;

INSERT IGNORE INTO mailculator_schema (name) VALUES ('0005_control');

DO RELEASE_LOCK(CONCAT('mailculator.', MD5(DATABASE())));
