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

-- acquire
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
UPDATE `app`.`locks`
   SET token = LAST_INSERT_ID(GREATEST(token + 1, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)))),
       last_label      = IF(owner IS NULL, last_label,      label),
       last_started_ms = IF(owner IS NULL, last_started_ms, started_ms),
       last_ended_ms   = IF(owner IS NULL, last_ended_ms,   LEAST(expires_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000))),
       last_outcome    = IF(owner IS NULL, last_outcome,    'failed'),
       started_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), owner = :owner, label = CONVERT(:label USING utf8mb4), renewed_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), expires_ms = LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :ttl, 9007199254740991)
 WHERE `key` = :key AND NOT paused AND expires_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AND IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, 18446744073709551615 + (1 - @@autocommit)), 18446744073709551615 + @@in_transaction);

-- acquire-on-conditions
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
UPDATE `app`.`locks`
   SET token = LAST_INSERT_ID(GREATEST(token + 1, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)))),
       last_label      = IF(owner IS NULL, last_label,      label),
       last_started_ms = IF(owner IS NULL, last_started_ms, started_ms),
       last_ended_ms   = IF(owner IS NULL, last_ended_ms,   LEAST(expires_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000))),
       last_outcome    = IF(owner IS NULL, last_outcome,    'failed'),
       tick_ms = COALESCE(COALESCE(:tick, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - MOD((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), :slot), IF(:gap > 0, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), NULL)), tick_ms),
       started_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), owner = :owner, label = CONVERT(:label USING utf8mb4), renewed_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), expires_ms = LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :ttl, 9007199254740991)
 WHERE `key` = :key AND COALESCE(:tick <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :ahead, TRUE)
   AND (NOT paused
        AND (COALESCE(tick_ms < COALESCE(:tick, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - MOD((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), :slot), (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - :gap + 1), TRUE)
             OR owner IS NOT NULL AND tick_ms = :failOver OR tick_ms = :ignored)
        AND (expires_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) OR owner IS NOT NULL AND renewed_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - :stealAfter)) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AND IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, 18446744073709551615 + (1 - @@autocommit)), 18446744073709551615 + @@in_transaction);

-- acquire-again
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
UPDATE `app`.`locks`
   SET token = LAST_INSERT_ID(IF(owner <=> :owner, token, GREATEST(token + 1, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))))),
       last_label      = IF(owner IS NULL OR owner <=> :owner, last_label,      label),
       last_started_ms = IF(owner IS NULL OR owner <=> :owner, last_started_ms, started_ms),
       last_ended_ms   = IF(owner IS NULL OR owner <=> :owner, last_ended_ms,   LEAST(expires_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000))),
       last_outcome    = IF(owner IS NULL OR owner <=> :owner, last_outcome,    'failed'),
       tick_ms    = IF(owner <=> :owner, tick_ms, COALESCE(COALESCE(:tick, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - MOD((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), :slot), IF(:gap > 0, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), NULL)), tick_ms)),
       started_ms = IF(owner <=> :owner, started_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)),
       owner = :owner, label = CONVERT(:label USING utf8mb4), renewed_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), expires_ms = LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :ttl, 9007199254740991)
 WHERE `key` = :key AND COALESCE(:tick <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :ahead, TRUE)
   AND (NOT paused
        AND (COALESCE(tick_ms < COALESCE(:tick, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - MOD((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), :slot), (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - :gap + 1), TRUE)
             OR owner IS NOT NULL AND tick_ms = :failOver OR tick_ms = :ignored)
        AND (expires_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) OR owner IS NOT NULL AND renewed_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - :stealAfter) OR owner <=> :owner) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AND IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, 18446744073709551615 + (1 - @@autocommit)), 18446744073709551615 + @@in_transaction);

-- renew
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
UPDATE `app`.`locks`
   SET token = LAST_INSERT_ID(token), renewed_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), expires_ms = LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :ttl, 9007199254740991)
 WHERE `key` = :key AND owner = :owner AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AND IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, 18446744073709551615 + (1 - @@autocommit)), 18446744073709551615 + @@in_transaction);

-- release
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
UPDATE `app`.`locks`
   SET token = LAST_INSERT_ID(token),
       last_label = label, last_started_ms = started_ms, last_ended_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), last_outcome = :outcome,
       owner = NULL, expires_ms = IF(:keepFor > 0, LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :keepFor, 9007199254740991), 0)
 WHERE `key` = :key AND owner = :owner AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AND IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, 18446744073709551615 + (1 - @@autocommit)), 18446744073709551615 + @@in_transaction);

-- release-to-waiter
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
UPDATE `app`.`locks`
   SET token = LAST_INSERT_ID(GREATEST(token + 1, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)))),
       last_label = label, last_started_ms = started_ms, last_ended_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), last_outcome = :outcome,
       owner = :nextOwner, label = CONVERT(:label USING utf8mb4),
       started_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), renewed_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), expires_ms = LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :ttl, 9007199254740991)
 WHERE `key` = :key AND owner = :owner AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND NOT paused AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AND IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, 18446744073709551615 + (1 - @@autocommit)), 18446744073709551615 + @@in_transaction);

-- force-release
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
UPDATE `app`.`locks`
   SET token = LAST_INSERT_ID(token),
       last_label      = IF(owner IS NULL, last_label,      label),
       last_started_ms = IF(owner IS NULL, last_started_ms, started_ms),
       last_ended_ms   = IF(owner IS NULL, last_ended_ms,   (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)),
       last_outcome    = IF(owner IS NULL, last_outcome,    'failed'),
       owner = NULL, expires_ms = 0
 WHERE `key` = :key AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AND IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, 18446744073709551615 + (1 - @@autocommit)), 18446744073709551615 + @@in_transaction);

-- pause
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
UPDATE `app`.`locks` SET token = LAST_INSERT_ID(token), paused = TRUE
 WHERE `key` = :key AND NOT paused AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AND IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, 18446744073709551615 + (1 - @@autocommit)), 18446744073709551615 + @@in_transaction);

-- resume
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
UPDATE `app`.`locks` SET token = LAST_INSERT_ID(token), paused = FALSE
 WHERE `key` = :key AND paused AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AND IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, 18446744073709551615 + (1 - @@autocommit)), 18446744073709551615 + @@in_transaction);

-- acquire-new
SET STATEMENT innodb_lock_wait_timeout = 1 FOR
INSERT INTO `app`.`locks` (`key`, owner, token, label, started_ms, renewed_ms, expires_ms, tick_ms)
SELECT :key, :owner, LAST_INSERT_ID(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))), CONVERT(:label USING utf8mb4), (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :ttl, 9007199254740991), COALESCE(:tick, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - MOD((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), :slot), IF(:gap > 0, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), NULL))
  FROM DUAL WHERE COALESCE(:tick <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :ahead, TRUE) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AND IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, 18446744073709551615 + (1 - @@autocommit)), 18446744073709551615 + @@in_transaction);

-- pause-new
SET STATEMENT innodb_lock_wait_timeout = 1 FOR
INSERT INTO `app`.`locks` (`key`, token, expires_ms, paused) VALUES (:key, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)), :keptUntil, IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, 18446744073709551615 + (1 - @@autocommit)), 18446744073709551615 + @@in_transaction));

-- look
SELECT seen.*, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs
  FROM (SELECT 1) AS one LEFT JOIN (
       SELECT owner = :owner AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AS leased, expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AS held,
              paused, NOT paused AS unpaused
         FROM `app`.`locks` WHERE `key` = :key AND IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, 18446744073709551615 + (1 - @@autocommit)), 18446744073709551615 + @@in_transaction)) AS seen ON TRUE;

-- guard
SET STATEMENT innodb_lock_wait_timeout = 1 FOR
SELECT 1 FROM `app`.`locks` WHERE `key` = :key AND owner = :owner AND token = :token LOCK IN SHARE MODE;

-- guard-again
SET STATEMENT innodb_lock_wait_timeout = 1 FOR
SELECT @@in_transaction AS inside FROM `app`.`locks` WHERE `key` = :key AND owner = :owner AND token = :token
   AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 LOCK IN SHARE MODE;

-- read-clock
SELECT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AS now_ms;

-- inspect
SELECT seen.*, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs
  FROM (SELECT 1) AS one LEFT JOIN (
       SELECT `key`, owner IS NOT NULL AS owned, token, expires_ms, CAST(label AS BINARY) AS label,
       started_ms, renewed_ms, tick_ms, paused, CAST(last_label AS BINARY) AS last_label,
       last_started_ms, last_ended_ms, last_outcome, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AS now_ms
         FROM `app`.`locks` WHERE `key` = :key) AS seen ON TRUE;

-- inspect-with-grace
SELECT seen.*, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs
  FROM (SELECT 1) AS one LEFT JOIN (
       SELECT `key`, owner IS NOT NULL AS owned, token, expires_ms, CAST(label AS BINARY) AS label,
       started_ms, renewed_ms, tick_ms, paused, CAST(last_label AS BINARY) AS last_label,
       last_started_ms, last_ended_ms, last_outcome, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AS now_ms
         FROM `app`.`locks` WHERE `key` IN (:key, X'') AND IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, 18446744073709551615 + (1 - @@autocommit)), 18446744073709551615 + @@in_transaction)) AS seen ON TRUE;

-- list
SELECT seen.*, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs
  FROM (SELECT 1) AS one LEFT JOIN (
       SELECT `key`, owner IS NOT NULL AS owned, token, expires_ms, CAST(label AS BINARY) AS label,
       started_ms, renewed_ms, tick_ms, paused, CAST(last_label AS BINARY) AS last_label,
       last_started_ms, last_ended_ms, last_outcome, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AS now_ms
         FROM `app`.`locks`
        WHERE `key` > :after AND `key` >= :prefix AND LEFT(`key`, LENGTH(:prefix)) = :prefix AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)
        ORDER BY `key` LIMIT :limit) AS seen ON TRUE
 ORDER BY `key`;

-- purge-look
SELECT `key`, LEFT(`key`, LENGTH(:prefix)) = :prefix AND NOT paused AND token < TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
    AND GREATEST(expires_ms, COALESCE(renewed_ms, 0), COALESCE(last_ended_ms, 0), COALESCE(tick_ms, 0)) <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - :olderThan AS unused, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs
  FROM `app`.`locks` WHERE `key` > :after AND `key` >= :prefix ORDER BY `key` LIMIT 100;

-- purge
SET STATEMENT innodb_lock_wait_timeout = 0, sql_safe_updates = 0 FOR
DELETE `app`.`locks` FROM `app`.`locks` FORCE INDEX (PRIMARY)
 WHERE `key` IN (:keys) AND NOT paused AND token < TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
    AND GREATEST(expires_ms, COALESCE(renewed_ms, 0), COALESCE(last_ended_ms, 0), COALESCE(tick_ms, 0)) <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - :olderThan AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AND IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, 18446744073709551615 + (1 - @@autocommit)), 18446744073709551615 + @@in_transaction);

-- look-at-clock
SELECT ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs;

-- grace-period
INSERT INTO `app`.`locks` (`key`, token, expires_ms, label, started_ms, renewed_ms)
VALUES ('', 0, LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + 20000, 9007199254740991), 'the lock table, which was made again', IF(IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, 18446744073709551615 + (1 - @@autocommit)), 18446744073709551615 + @@in_transaction), (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), NULL), (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000))
ON DUPLICATE KEY UPDATE
   expires_ms = GREATEST(expires_ms, LEAST(COALESCE(started_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)) + 20000, 9007199254740991)),
   label = 'the lock table, which was made again', renewed_ms = COALESCE(started_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)), started_ms = COALESCE(started_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000));

-- token-look
SELECT token FROM `app`.`locks` WHERE `key` = :key AND owner = :owner;

-- due-look
SELECT COALESCE(:tick <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :ahead, TRUE) AS due, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs;
