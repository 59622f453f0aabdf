-- create-table
CREATE TABLE IF NOT EXISTS `app`.`locks` (
  `key` varbinary(255) NOT NULL PRIMARY KEY,
  owner varbinary(64),
  token bigint NOT NULL,
  expires_ms bigint NOT NULL,
  label varchar(255),
  started_ms bigint,
  renewed_ms bigint,
  tick_ms bigint,
  paused boolean NOT NULL DEFAULT false,
  last_label varchar(255),
  last_started_ms bigint,
  last_ended_ms bigint,
  last_outcome varchar(16)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- acquire 1
SELECT seen.*, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs FROM (SELECT 1) AS one LEFT JOIN (SELECT `key`, owner IS NOT NULL AS owned, token, expires_ms, CAST(label AS BINARY) AS label, started_ms, renewed_ms, tick_ms, paused,
  CAST(last_label AS BINARY) AS last_label, last_started_ms, last_ended_ms, last_outcome, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AS now_ms FROM `app`.`locks` WHERE `key` IN (?, X'')) AS seen ON TRUE;

-- acquire 2
SET @lock_wait = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 1,
         @safe_updates = @@SESSION.sql_safe_updates, SESSION sql_safe_updates = 0;

-- acquire 3
UPDATE `app`.`locks` SET token = LAST_INSERT_ID(IF(FALSE, token, GREATEST(token + 1, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))))),
         last_label      = IF(owner IS NULL OR FALSE, last_label,      label),
         last_started_ms = IF(owner IS NULL OR FALSE, last_started_ms, started_ms),
         last_ended_ms   = IF(owner IS NULL OR FALSE, last_ended_ms,   LEAST(expires_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000))),
         last_outcome    = IF(owner IS NULL OR FALSE, last_outcome,    'failed'),
         tick_ms    = IF(FALSE, tick_ms, tick_ms),
         started_ms = IF(FALSE, started_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)),
         owner = ?, label = CONVERT(? USING utf8mb4), renewed_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), expires_ms = LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + ?, 9007199254740991) WHERE `key` = ? AND TRUE AND (NOT paused AND expires_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) OR FALSE) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- acquire 4
INSERT INTO `app`.`locks` (`key`, owner, token, label, started_ms, renewed_ms, expires_ms, tick_ms)
       SELECT ?, ?, LAST_INSERT_ID(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))), CONVERT(? USING utf8mb4), (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + ?, 9007199254740991), COALESCE(?, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - MOD((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), ?), IF(? > 0, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), NULL))
         FROM DUAL WHERE COALESCE(? <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + ?, TRUE);

-- acquire 5
SET SESSION innodb_lock_wait_timeout = @lock_wait, SESSION sql_safe_updates = @safe_updates;

-- acquire-again 1
UPDATE `app`.`locks` SET token = LAST_INSERT_ID(IF(owner <=> ?, token, GREATEST(token + 1, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))))),
         last_label      = IF(owner IS NULL OR owner <=> ?, last_label,      label),
         last_started_ms = IF(owner IS NULL OR owner <=> ?, last_started_ms, started_ms),
         last_ended_ms   = IF(owner IS NULL OR owner <=> ?, last_ended_ms,   LEAST(expires_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000))),
         last_outcome    = IF(owner IS NULL OR owner <=> ?, last_outcome,    'failed'),
         tick_ms    = IF(owner <=> ?, tick_ms, tick_ms),
         started_ms = IF(owner <=> ?, started_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)),
         owner = ?, label = CONVERT(? USING utf8mb4), renewed_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), expires_ms = LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + ?, 9007199254740991) WHERE `key` = ? AND TRUE AND (NOT paused AND expires_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) OR owner <=> ?) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- acquire-on-conditions 1
UPDATE `app`.`locks` SET token = LAST_INSERT_ID(IF(FALSE, token, GREATEST(token + 1, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))))),
         last_label      = IF(owner IS NULL OR FALSE, last_label,      label),
         last_started_ms = IF(owner IS NULL OR FALSE, last_started_ms, started_ms),
         last_ended_ms   = IF(owner IS NULL OR FALSE, last_ended_ms,   LEAST(expires_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000))),
         last_outcome    = IF(owner IS NULL OR FALSE, last_outcome,    'failed'),
         tick_ms    = IF(FALSE, tick_ms, COALESCE(COALESCE(?, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - MOD((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), ?), IF(? > 0, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), NULL)), tick_ms)),
         started_ms = IF(FALSE, started_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)),
         owner = ?, label = CONVERT(? USING utf8mb4), renewed_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), expires_ms = LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + ?, 9007199254740991) WHERE `key` = ? AND COALESCE(? <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + ?, TRUE) AND (NOT paused
      AND (COALESCE(tick_ms < COALESCE(?, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - MOD((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), ?), (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - ? + 1), TRUE)
           OR owner IS NOT NULL AND tick_ms = ? OR tick_ms = ?)
      AND (expires_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) OR owner IS NOT NULL AND renewed_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - ?) OR FALSE) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- acquire-on-conditions-again 1
UPDATE `app`.`locks` SET token = LAST_INSERT_ID(IF(owner <=> ?, token, GREATEST(token + 1, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))))),
         last_label      = IF(owner IS NULL OR owner <=> ?, last_label,      label),
         last_started_ms = IF(owner IS NULL OR owner <=> ?, last_started_ms, started_ms),
         last_ended_ms   = IF(owner IS NULL OR owner <=> ?, last_ended_ms,   LEAST(expires_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000))),
         last_outcome    = IF(owner IS NULL OR owner <=> ?, last_outcome,    'failed'),
         tick_ms    = IF(owner <=> ?, tick_ms, COALESCE(COALESCE(?, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - MOD((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), ?), IF(? > 0, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), NULL)), tick_ms)),
         started_ms = IF(owner <=> ?, started_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)),
         owner = ?, label = CONVERT(? USING utf8mb4), renewed_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), expires_ms = LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + ?, 9007199254740991) WHERE `key` = ? AND COALESCE(? <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + ?, TRUE) AND (NOT paused
      AND (COALESCE(tick_ms < COALESCE(?, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - MOD((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), ?), (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - ? + 1), TRUE)
           OR owner IS NOT NULL AND tick_ms = ? OR tick_ms = ?)
      AND (expires_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) OR owner IS NOT NULL AND renewed_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - ?) OR owner <=> ?) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- renew 1
UPDATE `app`.`locks` SET token = LAST_INSERT_ID(token), renewed_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), expires_ms = LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + ?, 9007199254740991) WHERE `key` = ? AND owner = ? AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- renew 2
SELECT seen.*, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs FROM (SELECT 1) AS one LEFT JOIN (SELECT 1 AS present FROM `app`.`locks` WHERE `key` = ? AND owner = ? AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)) AS seen ON TRUE;

-- release 1
UPDATE `app`.`locks` SET token = LAST_INSERT_ID(token),
     last_label = label, last_started_ms = started_ms, last_ended_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), last_outcome = ?,
     owner = NULL, expires_ms = IF(? > 0, LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + ?, 9007199254740991), 0) WHERE `key` = ? AND owner = ? AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- release-to-waiter 1
UPDATE `app`.`locks` SET token = LAST_INSERT_ID(GREATEST(token + 1, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)))),
     last_label = label, last_started_ms = started_ms, last_ended_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), last_outcome = ?,
     owner = ?, label = CONVERT(? USING utf8mb4), started_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), renewed_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), expires_ms = LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + ?, 9007199254740991) WHERE `key` = ? AND owner = ? AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND NOT paused AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- release-to-waiter 2
SELECT seen.*, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs FROM (SELECT 1) AS one LEFT JOIN (SELECT paused FROM `app`.`locks` WHERE `key` = ? AND owner = ? AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)) AS seen ON TRUE;

-- force-release 1
UPDATE `app`.`locks` SET token = LAST_INSERT_ID(token),
     last_label      = IF(owner IS NULL, last_label,      label),
     last_started_ms = IF(owner IS NULL, last_started_ms, started_ms),
     last_ended_ms   = IF(owner IS NULL, last_ended_ms,   (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)),
     last_outcome    = IF(owner IS NULL, last_outcome,    'failed'),
     owner = NULL, expires_ms = 0 WHERE `key` = ? AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- force-release 2
SELECT seen.*, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs FROM (SELECT 1) AS one LEFT JOIN (SELECT 1 AS present FROM `app`.`locks` WHERE `key` = ? AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)) AS seen ON TRUE;

-- pause 1
UPDATE `app`.`locks` SET token = LAST_INSERT_ID(token), paused = TRUE WHERE `key` = ? AND NOT paused AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- pause 2
SELECT seen.*, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs FROM (SELECT 1) AS one LEFT JOIN (SELECT 1 AS present FROM `app`.`locks` WHERE `key` = ? AND NOT paused) AS seen ON TRUE;

-- pause 3
INSERT INTO `app`.`locks` (`key`, token, expires_ms, paused) VALUES (?, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)), ?, TRUE);

-- resume 1
UPDATE `app`.`locks` SET token = LAST_INSERT_ID(token), paused = FALSE WHERE `key` = ? AND paused AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- resume 2
SELECT seen.*, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs FROM (SELECT 1) AS one LEFT JOIN (SELECT 1 AS present FROM `app`.`locks` WHERE `key` = ? AND paused) AS seen ON TRUE;

-- guard 1
SELECT 1 FROM `app`.`locks` WHERE `key` = ? AND owner = ? AND token = ?  LOCK IN SHARE MODE;

-- guard 2
SELECT 1 FROM `app`.`locks` WHERE `key` = ? AND owner = ? AND token = ? AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 LOCK IN SHARE MODE;

-- read-clock 1
SELECT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AS now_ms;

-- inspect 1
SELECT seen.*, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs FROM (SELECT 1) AS one LEFT JOIN (SELECT `key`, owner IS NOT NULL AS owned, token, expires_ms, CAST(label AS BINARY) AS label, started_ms, renewed_ms, tick_ms, paused,
  CAST(last_label AS BINARY) AS last_label, last_started_ms, last_ended_ms, last_outcome, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AS now_ms FROM `app`.`locks` WHERE `key` = ?) AS seen ON TRUE;

-- list 1
SELECT seen.*, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs FROM (SELECT 1) AS one LEFT JOIN (
    SELECT `key`, owner IS NOT NULL AS owned, token, expires_ms, CAST(label AS BINARY) AS label, started_ms, renewed_ms, tick_ms, paused,
  CAST(last_label AS BINARY) AS last_label, last_started_ms, last_ended_ms, last_outcome, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AS now_ms FROM `app`.`locks`
     WHERE `key` > X'6166746572' AND `key` >= X'707265666978' AND LEFT(`key`, LENGTH(X'707265666978')) = X'707265666978' AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)
     ORDER BY `key` LIMIT 100) AS seen ON TRUE ORDER BY `key`;

-- purge 1
SELECT `key`, LEFT(`key`, LENGTH(X'707265666978')) = X'707265666978' AND NOT paused AND token < TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
     AND GREATEST(expires_ms, COALESCE(renewed_ms, 0), COALESCE(last_ended_ms, 0), COALESCE(tick_ms, 0)) <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - 60000 AS unused, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs FROM `app`.`locks`
       WHERE `key` > X'6166746572' AND `key` >= X'707265666978' ORDER BY `key` LIMIT 100;

-- purge 2
DELETE `app`.`locks` FROM `app`.`locks` FORCE INDEX (PRIMARY) WHERE `key` IN (X'6b6579') AND NOT paused AND token < TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
     AND GREATEST(expires_ms, COALESCE(renewed_ms, 0), COALESCE(last_ended_ms, 0), COALESCE(tick_ms, 0)) <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - 60000 AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- begin-grace-period
INSERT INTO `app`.`locks` (`key`, token, expires_ms, label, started_ms, renewed_ms)
    VALUES ('', 0, LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + 20000, 9007199254740991), 'the lock table, which was made again', (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000))
    ON DUPLICATE KEY UPDATE
      expires_ms = GREATEST(expires_ms, LEAST(COALESCE(started_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)) + 20000, 9007199254740991)),
      label = 'the lock table, which was made again', renewed_ms = COALESCE(started_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)), started_ms = COALESCE(started_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000));
