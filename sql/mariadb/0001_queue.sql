-- mailculator, schema 0001: the queue.
--
-- Brings an empty database, or the live database of the older service, to the current schema; on one that is current
-- it changes nothing. Needs MariaDB 10.11 or later. Either
--
--     mailculator schema apply
--     mariadb <options> <database> < 0001_queue.sql
--
-- Every statement may be run again, so a run that was cut short, or that gave up a lock with error 1205, is simply
-- repeated from the top. No statement locks a table for long: columns are added without touching a row (INSTANT), indexes
-- are built while writers go on (INPLACE, LOCK=NONE), and a statement that waits for a lock waits two seconds, so
-- that nobody queues behind it for longer.
--
-- For the program that reads this file: a statement ends with a semicolon at the end of a line.

SET NAMES utf8mb4 COLLATE utf8mb4_general_ci;

SET SESSION lock_wait_timeout = 2, innodb_lock_wait_timeout = 2, max_statement_time = 0;

-- One run at a time. The name fits whatever the database is called; the lock ends with the session at the latest.
SET @locked = GET_LOCK(CONCAT('mailculator.', MD5(DATABASE())), 600);

SET @sql = IF(@locked = 1, 'DO 0', 'SIGNAL SQLSTATE ''45000'' SET MESSAGE_TEXT =
  ''another run has been changing this schema for ten minutes: look for it in SHOW PROCESSLIST''');
EXECUTE IMMEDIATE @sql;

CREATE TABLE IF NOT EXISTS emails (
  id                CHAR(36)     NOT NULL,
  status            ENUM('ACCEPTED', 'INTAKING', 'READY', 'PROCESSING', 'SENT', 'FAILED', 'INVALID',
                         'CALLING-SENT-CALLBACK', 'CALLING-FAILED-CALLBACK', 'SENT-ACKNOWLEDGED',
                         'FAILED-ACKNOWLEDGED') NOT NULL,
  eml_file_path     VARCHAR(500) NULL,
  payload_file_path VARCHAR(500) NULL,
  reason            TEXT         NULL,
  version           INT          NOT NULL DEFAULT 1,
  ttl               BIGINT       NULL COMMENT 'epoch seconds; NULL = keep',
  created_at        TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  updated_at        TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
  PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;

-- What the older service's table lacks (some releases of it had no eml_file_path). Its rows become due at once.
ALTER TABLE emails
  ADD COLUMN IF NOT EXISTS eml_file_path    VARCHAR(500) NULL,
  ADD COLUMN IF NOT EXISTS ttl              BIGINT       NULL COMMENT 'epoch seconds; NULL = keep',
  ADD COLUMN IF NOT EXISTS attempts         INT          NOT NULL DEFAULT 0 COMMENT 'tries at this stage',
  ADD COLUMN IF NOT EXISTS generation       INT          NOT NULL DEFAULT 0 COMMENT 'requeues that send anew',
  ADD COLUMN IF NOT EXISTS due_at           TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  ADD COLUMN IF NOT EXISTS parked           TINYINT(1)   NOT NULL DEFAULT 0 COMMENT 'set aside until released by hand',
  ADD COLUMN IF NOT EXISTS claim_token      CHAR(32)     NULL,
  ADD COLUMN IF NOT EXISTS claimed_by       VARCHAR(128) NULL,
  ADD COLUMN IF NOT EXISTS lease_until      TIMESTAMP(6) NULL,
  ADD COLUMN IF NOT EXISTS lease_version    INT          NULL COMMENT 'the lease is ours only at this version',
  ADD COLUMN IF NOT EXISTS failing_since    TIMESTAMP(6) NULL,
  ADD COLUMN IF NOT EXISTS last_error       TEXT         NULL,
  ADD COLUMN IF NOT EXISTS reached_at       TIMESTAMP(6) NULL COMMENT 'when it was sent or failed',
  ADD COLUMN IF NOT EXISTS recipient_domain VARCHAR(255) NULL,
  ALGORITHM=INSTANT, LOCK=NONE;

-- The older service's history is a table `email_statuses`. It becomes `email_status_history`, and an updatable view
-- takes its name. A view can only be made on a table that exists, so a view stands in under the new name until one
-- RENAME, atomic for whoever looks, gives every name its final meaning. Only views are ever dropped here.
SET @older = EXISTS (SELECT 1 FROM information_schema.tables
  WHERE table_schema = DATABASE() AND table_name = 'email_statuses' AND table_type = 'BASE TABLE');

SET @both = @older AND EXISTS (SELECT 1 FROM information_schema.tables
  WHERE table_schema = DATABASE() AND table_name = 'email_status_history' AND table_type = 'BASE TABLE');

SET @sql = IF(@both, 'SIGNAL SQLSTATE ''45000'' SET MESSAGE_TEXT =
  ''email_statuses and email_status_history are both tables: rename or drop the one that is not the history''', 'DO 0');
EXECUTE IMMEDIATE @sql;

SET @sql = IF(@older, 'CREATE ALGORITHM=MERGE VIEW IF NOT EXISTS email_status_history AS
  SELECT id, email_id, status, reason, created_at FROM email_statuses', 'DO 0');
EXECUTE IMMEDIATE @sql;

SET @sql = IF(@older, 'CREATE OR REPLACE ALGORITHM=MERGE VIEW mailculator_view_to_be AS
  SELECT id, email_id, status, reason, created_at FROM email_status_history', 'DO 0');
EXECUTE IMMEDIATE @sql;

DROP VIEW IF EXISTS mailculator_stand_in;

SET @sql = IF(@older, 'RENAME TABLE
  email_status_history TO mailculator_stand_in,
  email_statuses TO email_status_history,
  mailculator_view_to_be TO email_statuses', 'DO 0');
EXECUTE IMMEDIATE @sql;

DROP VIEW IF EXISTS mailculator_stand_in, mailculator_view_to_be;

CREATE TABLE IF NOT EXISTS email_status_history (
  id         BIGINT       NOT NULL AUTO_INCREMENT,
  email_id   CHAR(36)     NOT NULL,
  status     VARCHAR(50)  NOT NULL,
  reason     TEXT         NULL,
  created_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  version    INT          NULL COMMENT 'the row''s version after this move; NULL = a note of another program',
  PRIMARY KEY (id),
  UNIQUE KEY uq_email_status_history_version (email_id, version),
  CONSTRAINT fk_email_status_history_email FOREIGN KEY (email_id) REFERENCES emails (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;

ALTER TABLE email_status_history
  ADD COLUMN IF NOT EXISTS version INT NULL COMMENT 'the row''s version after this move; NULL = a note of another program',
  ALGORITHM=INSTANT, LOCK=NONE;

ALTER TABLE email_status_history
  ADD UNIQUE INDEX IF NOT EXISTS uq_email_status_history_version (email_id, version),
  ALGORITHM=INPLACE, LOCK=NONE;

-- Only where it is missing: CREATE VIEW IF NOT EXISTS waits for everyone who reads the view, even to do nothing.
SET @missing = NOT EXISTS (SELECT 1 FROM information_schema.tables
  WHERE table_schema = DATABASE() AND table_name = 'email_statuses');

SET @sql = IF(@missing, 'CREATE ALGORITHM=MERGE VIEW email_statuses AS
  SELECT id, email_id, status, reason, created_at FROM email_status_history', 'DO 0');
EXECUTE IMMEDIATE @sql;

ALTER TABLE emails
  ADD INDEX IF NOT EXISTS idx_emails_due (status, parked, due_at),
  ALGORITHM=INPLACE, LOCK=NONE;

ALTER TABLE emails
  ADD INDEX IF NOT EXISTS idx_emails_ttl (status, ttl),
  ALGORITHM=INPLACE, LOCK=NONE;

CREATE TABLE IF NOT EXISTS mailculator_meta (
  name  VARCHAR(64)  NOT NULL,
  value VARCHAR(255) NOT NULL,
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS mailculator_schema (
  name       VARCHAR(128) NOT NULL,
  applied_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;

-- IGNORE, not REPLACE: a later file may have raised it.
INSERT IGNORE INTO mailculator_meta (name, value) VALUES ('oldest_service', '0.1.0');

INSERT IGNORE INTO mailculator_schema (name) VALUES ('0001_queue');

DO RELEASE_LOCK(CONCAT('mailculator.', MD5(DATABASE())));
