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
 WHERE `key` = :key AND NOT paused AND expires_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

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
        AND (expires_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) OR owner IS NOT NULL AND renewed_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - :stealAfter)) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

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
        AND (expires_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) OR owner IS NOT NULL AND renewed_ms <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - :stealAfter) OR owner <=> :owner) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- renew
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
UPDATE `app`.`locks`
   SET token = LAST_INSERT_ID(token), renewed_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), expires_ms = LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :ttl, 9007199254740991)
 WHERE `key` = :key AND owner = :owner AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- release
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
UPDATE `app`.`locks`
   SET token = LAST_INSERT_ID(token),
       last_label = label, last_started_ms = started_ms, last_ended_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), last_outcome = :outcome,
       owner = NULL, expires_ms = IF(:keepFor > 0, LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :keepFor, 9007199254740991), 0)
 WHERE `key` = :key AND owner = :owner AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- release-to-waiter
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
UPDATE `app`.`locks`
   SET token = LAST_INSERT_ID(GREATEST(token + 1, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)))),
       last_label = label, last_started_ms = started_ms, last_ended_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), last_outcome = :outcome,
       owner = :nextOwner, label = CONVERT(:label USING utf8mb4),
       started_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), renewed_ms = (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), expires_ms = LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :ttl, 9007199254740991)
 WHERE `key` = :key AND owner = :owner AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND NOT paused AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- force-release
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
UPDATE `app`.`locks`
   SET token = LAST_INSERT_ID(token),
       last_label      = IF(owner IS NULL, last_label,      label),
       last_started_ms = IF(owner IS NULL, last_started_ms, started_ms),
       last_ended_ms   = IF(owner IS NULL, last_ended_ms,   (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)),
       last_outcome    = IF(owner IS NULL, last_outcome,    'failed'),
       owner = NULL, expires_ms = 0
 WHERE `key` = :key AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- pause
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
UPDATE `app`.`locks` SET token = LAST_INSERT_ID(token), paused = TRUE
 WHERE `key` = :key AND NOT paused AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- resume
SET STATEMENT innodb_lock_wait_timeout = 0 FOR
UPDATE `app`.`locks` SET token = LAST_INSERT_ID(token), paused = FALSE
 WHERE `key` = :key AND paused AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000;

-- acquire-new
SET STATEMENT innodb_lock_wait_timeout = 1 FOR
INSERT INTO `app`.`locks` (`key`, owner, token, label, started_ms, renewed_ms, expires_ms, tick_ms)
SELECT :key, :owner, LAST_INSERT_ID(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))), CONVERT(:label USING utf8mb4), (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :ttl, 9007199254740991), COALESCE(:tick, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - MOD((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), :slot), IF(:gap > 0, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), NULL))
  FROM DUAL WHERE COALESCE(:tick <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :ahead, TRUE);

-- pause-new
SET STATEMENT innodb_lock_wait_timeout = 1 FOR
INSERT INTO `app`.`locks` (`key`, token, expires_ms, paused) VALUES (:key, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)), :keptUntil, TRUE);

-- look
SELECT seen.*, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs
  FROM (SELECT 1) AS one LEFT JOIN (
       SELECT owner = :owner AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AS leased, expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AS held,
              paused, NOT paused AS unpaused
         FROM `app`.`locks` WHERE `key` = :key) AS seen ON TRUE;

-- guard
SET STATEMENT innodb_lock_wait_timeout = 1 FOR
SELECT 1 FROM `app`.`locks` WHERE `key` = :key AND owner = :owner AND token = :token LOCK IN SHARE MODE;

-- guard-again
SET STATEMENT innodb_lock_wait_timeout = 1 FOR
SELECT 1 FROM `app`.`locks` WHERE `key` = :key AND owner = :owner AND token = :token
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
         FROM `app`.`locks` WHERE `key` IN (:key, X'')) AS seen ON TRUE;

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

-- renew-many
SET STATEMENT sql_safe_updates = 0 FOR UPDATE
    (SELECT `key` FROM `app`.`locks` FORCE INDEX (PRIMARY)
      WHERE `key` IN (:keys) AND CONCAT(`key`, X'00', owner) IN (:leases) AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000
      LIMIT :limit FOR UPDATE SKIP LOCKED) AS mine
    STRAIGHT_JOIN `app`.`locks` AS t ON t.`key` = mine.`key`
SET renewed_ms = LAST_INSERT_ID((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)), expires_ms = LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + :ttl, 9007199254740991);

-- renew-many-look
SELECT seen.*, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs
  FROM (SELECT 1) AS one LEFT JOIN (
       SELECT `key`, owner, renewed_ms FROM `app`.`locks` FORCE INDEX (PRIMARY)
        WHERE `key` IN (:keys) AND CONCAT(`key`, X'00', owner) IN (:leases) AND expires_ms > (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)
        LIMIT :limit) AS seen ON TRUE;

-- purge-look
SELECT `key`, LEFT(`key`, LENGTH(:prefix)) = :prefix AND NOT paused AND token < TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
    AND GREATEST(expires_ms, COALESCE(renewed_ms, 0), COALESCE(last_ended_ms, 0), COALESCE(tick_ms, 0)) <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - :olderThan AS unused, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs
  FROM `app`.`locks` WHERE `key` > :after AND `key` >= :prefix ORDER BY `key` LIMIT 100;

-- purge
SET STATEMENT sql_safe_updates = 0 FOR DELETE `app`.`locks`
FROM (SELECT `key` FROM `app`.`locks` FORCE INDEX (PRIMARY)
       WHERE `key` IN (:keys) AND NOT paused AND token < TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
  AND GREATEST(expires_ms, COALESCE(renewed_ms, 0), COALESCE(last_ended_ms, 0), COALESCE(tick_ms, 0)) <= (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) - :olderThan AND ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000
       LIMIT :limit FOR UPDATE SKIP LOCKED) AS unused
     STRAIGHT_JOIN `app`.`locks` ON `app`.`locks`.`key` = unused.`key`;

-- acquire-many
SET STATEMENT sql_safe_updates = 0 FOR UPDATE
       (SELECT l.`key`, UNHEX(w.hex_owner) AS owner, w.ttl, UNHEX(w.hex_label) AS label, clock.ms, clock.us
          FROM (SELECT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AS ms, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) AS us, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs) AS clock STRAIGHT_JOIN
          JSON_TABLE(CONVERT(:requests USING ascii), '$[*]' COLUMNS (
          place FOR ORDINALITY,
          hex_key varchar(510) CHARACTER SET ascii PATH '$[0]',
          hex_owner varchar(128) CHARACTER SET ascii PATH '$[1]',
          ttl bigint PATH '$[2]',
          hex_label varchar(2040) CHARACTER SET ascii PATH '$[3]',
          again bool PATH '$[4]')) AS w
          STRAIGHT_JOIN `app`.`locks` AS l FORCE INDEX (PRIMARY) ON l.`key` = UNHEX(w.hex_key)
         WHERE NOT l.paused AND l.expires_ms <= clock.ms AND l.token < clock.us AND clock.clock_runs
           AND NOT (w.again AND l.owner <=> UNHEX(w.hex_owner))
         LIMIT 500 FOR UPDATE SKIP LOCKED) AS want
       STRAIGHT_JOIN `app`.`locks` AS t FORCE INDEX (PRIMARY) ON t.`key` = want.`key`
   SET t.token = LAST_INSERT_ID(want.us),
       t.last_label      = IF(t.owner IS NULL, t.last_label,      t.label),
       t.last_started_ms = IF(t.owner IS NULL, t.last_started_ms, t.started_ms),
       t.last_ended_ms   = IF(t.owner IS NULL, t.last_ended_ms,   LEAST(t.expires_ms, want.ms)),
       t.last_outcome    = IF(t.owner IS NULL, t.last_outcome,    'failed'),
       t.started_ms = want.ms, t.owner = want.owner, t.label = CONVERT(want.label USING utf8mb4),
       t.renewed_ms = want.ms, t.expires_ms = LEAST(want.ms + want.ttl, 9007199254740991);

-- acquire-many-look
SELECT w.place, COALESCE(owner = UNHEX(w.hex_owner), FALSE) AS own,
       `key`, owner IS NOT NULL AS owned, token, expires_ms, CAST(label AS BINARY) AS label,
       started_ms, renewed_ms, tick_ms, paused, CAST(last_label AS BINARY) AS last_label,
       last_started_ms, last_ended_ms, last_outcome, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AS now_ms, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs
  FROM JSON_TABLE(CONVERT(:requests USING ascii), '$[*]' COLUMNS (
          place FOR ORDINALITY,
          hex_key varchar(510) CHARACTER SET ascii PATH '$[0]',
          hex_owner varchar(128) CHARACTER SET ascii PATH '$[1]',
          ttl bigint PATH '$[2]',
          hex_label varchar(2040) CHARACTER SET ascii PATH '$[3]',
          again bool PATH '$[4]')) AS w
  LEFT JOIN `app`.`locks` AS l FORCE INDEX (PRIMARY) ON l.`key` = UNHEX(w.hex_key)
 LIMIT 501;

-- acquire-many-new
SET STATEMENT innodb_lock_wait_timeout = 1 FOR
INSERT IGNORE INTO `app`.`locks` (`key`, owner, token, label, started_ms, renewed_ms, expires_ms)
SELECT UNHEX(w.hex_key), UNHEX(w.hex_owner), LAST_INSERT_ID(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))), CONVERT(UNHEX(w.hex_label) USING utf8mb4),
       (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + w.ttl, 9007199254740991)
  FROM JSON_TABLE(CONVERT(:requests USING ascii), '$[*]' COLUMNS (
          place FOR ORDINALITY,
          hex_key varchar(510) CHARACTER SET ascii PATH '$[0]',
          hex_owner varchar(128) CHARACTER SET ascii PATH '$[1]',
          ttl bigint PATH '$[2]',
          hex_label varchar(2040) CHARACTER SET ascii PATH '$[3]',
          again bool PATH '$[4]')) AS w;

-- release-many
SET STATEMENT sql_safe_updates = 0 FOR UPDATE
       (SELECT l.`key`, w.outcome, clock.ms
          FROM (SELECT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) AS ms, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) AS us, ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs) AS clock STRAIGHT_JOIN
          JSON_TABLE(CONVERT(:releases USING ascii), '$[*]' COLUMNS (
          place FOR ORDINALITY,
          hex_key varchar(510) CHARACTER SET ascii PATH '$[0]',
          hex_owner varchar(128) CHARACTER SET ascii PATH '$[1]',
          outcome varchar(16) CHARACTER SET ascii PATH '$[2]')) AS w
          STRAIGHT_JOIN `app`.`locks` AS l FORCE INDEX (PRIMARY) ON l.`key` = UNHEX(w.hex_key)
         WHERE l.owner = UNHEX(w.hex_owner) AND l.expires_ms > clock.ms AND clock.clock_runs
         LIMIT 500 FOR UPDATE SKIP LOCKED) AS mine
       STRAIGHT_JOIN `app`.`locks` AS t FORCE INDEX (PRIMARY) ON t.`key` = mine.`key`
   SET t.last_label = t.label, t.last_started_ms = t.started_ms, t.last_ended_ms = LAST_INSERT_ID(mine.ms),
       t.last_outcome = mine.outcome, t.owner = NULL, t.expires_ms = 0;

-- release-many-look
SELECT w.place
  FROM JSON_TABLE(CONVERT(:releases USING ascii), '$[*]' COLUMNS (
          place FOR ORDINALITY,
          hex_key varchar(510) CHARACTER SET ascii PATH '$[0]',
          hex_owner varchar(128) CHARACTER SET ascii PATH '$[1]',
          outcome varchar(16) CHARACTER SET ascii PATH '$[2]')) AS w
  STRAIGHT_JOIN `app`.`locks` AS l FORCE INDEX (PRIMARY) ON l.`key` = UNHEX(w.hex_key)
 WHERE last_ended_ms = :endedAt AND NOT (owner <=> UNHEX(w.hex_owner))
 LIMIT 500;

-- look-at-clock
SELECT ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000 AS clock_runs;

-- grace-period
INSERT INTO `app`.`locks` (`key`, token, expires_ms, label, started_ms, renewed_ms)
VALUES ('', 0, LEAST((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000) + 20000, 9007199254740991), 'the lock table, which was made again', (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000), (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000))
ON DUPLICATE KEY UPDATE
   expires_ms = GREATEST(expires_ms, LEAST(COALESCE(started_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)) + 20000, 9007199254740991)),
   label = 'the lock table, which was made again', renewed_ms = COALESCE(started_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)), started_ms = COALESCE(started_ms, (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000));
