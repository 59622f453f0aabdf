-- create-table
CREATE TABLE IF NOT EXISTS "main"."locks" (
  key text NOT NULL PRIMARY KEY,
  owner text,
  token integer NOT NULL,
  expires_ms integer NOT NULL,
  label text,
  started_ms integer,
  renewed_ms integer,
  tick_ms integer,
  paused integer NOT NULL DEFAULT 0,
  last_label text,
  last_started_ms integer,
  last_ended_ms integer,
  last_outcome text
) WITHOUT ROWID;

-- create-trigger
CREATE TRIGGER IF NOT EXISTS "main"."locks_token" AFTER DELETE ON "locks" WHEN OLD.token >= ((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) * 1000)
BEGIN
  INSERT INTO "locks" (key, token, expires_ms) VALUES ('', OLD.token, 0)
  ON CONFLICT (key) DO UPDATE SET token = MAX(token, excluded.token);
END;

-- acquire
INSERT INTO "main"."locks" (key, owner, token, label, started_ms, renewed_ms, expires_ms, tick_ms)
SELECT @key, @owner, MAX(((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) * 1000), COALESCE((SELECT token + 1 FROM "main"."locks" WHERE key = ''), 0)), @label, (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)), (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)), MIN((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) + @ttl, 9007199254740991), COALESCE(@tick, (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) - (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) % @slot, CASE WHEN @gap > 0 THEN (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) END)
 WHERE COALESCE(@tick <= (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) + @ahead, TRUE)
ON CONFLICT (key) DO UPDATE
   SET token = MAX(token + 1, excluded.token),
       last_label      = CASE WHEN owner IS NULL THEN last_label      ELSE label END,
       last_started_ms = CASE WHEN owner IS NULL THEN last_started_ms ELSE started_ms END,
       last_ended_ms   = CASE WHEN owner IS NULL THEN last_ended_ms   ELSE MIN(expires_ms, (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER))) END,
       last_outcome    = CASE WHEN owner IS NULL THEN last_outcome    ELSE 'failed' END,
       tick_ms = COALESCE(excluded.tick_ms, tick_ms),
       owner = excluded.owner, label = excluded.label, started_ms = excluded.started_ms,
       renewed_ms = excluded.renewed_ms, expires_ms = excluded.expires_ms
 WHERE NOT paused
      AND (COALESCE(tick_ms < COALESCE((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) - @gap + 1, excluded.tick_ms), TRUE)
           OR owner IS NOT NULL AND tick_ms = @failOver OR tick_ms = @ignored)
      AND (expires_ms <= (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) OR owner IS NOT NULL AND renewed_ms <= (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) - @stealAfter)
RETURNING token;

-- acquire-again
INSERT INTO "main"."locks" (key, owner, token, label, started_ms, renewed_ms, expires_ms, tick_ms)
SELECT @key, @owner, MAX(((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) * 1000), COALESCE((SELECT token + 1 FROM "main"."locks" WHERE key = ''), 0)), @label, (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)), (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)), MIN((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) + @ttl, 9007199254740991), COALESCE(@tick, (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) - (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) % @slot, CASE WHEN @gap > 0 THEN (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) END)
 WHERE COALESCE(@tick <= (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) + @ahead, TRUE)
ON CONFLICT (key) DO UPDATE
   SET token = CASE WHEN owner IS excluded.owner THEN token ELSE MAX(token + 1, excluded.token) END,
       last_label      = CASE WHEN owner IS NULL OR owner IS excluded.owner THEN last_label      ELSE label END,
       last_started_ms = CASE WHEN owner IS NULL OR owner IS excluded.owner THEN last_started_ms ELSE started_ms END,
       last_ended_ms   = CASE WHEN owner IS NULL OR owner IS excluded.owner THEN last_ended_ms   ELSE MIN(expires_ms, (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER))) END,
       last_outcome    = CASE WHEN owner IS NULL OR owner IS excluded.owner THEN last_outcome    ELSE 'failed' END,
       tick_ms = CASE WHEN owner IS excluded.owner THEN tick_ms ELSE COALESCE(excluded.tick_ms, tick_ms) END,
       owner = excluded.owner, label = excluded.label,
       started_ms = CASE WHEN owner IS excluded.owner THEN started_ms ELSE excluded.started_ms END,
       renewed_ms = excluded.renewed_ms, expires_ms = excluded.expires_ms
 WHERE NOT paused
      AND (COALESCE(tick_ms < COALESCE((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) - @gap + 1, excluded.tick_ms), TRUE)
           OR owner IS NOT NULL AND tick_ms = @failOver OR tick_ms = @ignored)
      AND (expires_ms <= (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) OR owner IS NOT NULL AND renewed_ms <= (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) - @stealAfter) OR owner IS excluded.owner
RETURNING token;

-- acquire-many
INSERT INTO "main"."locks" (key, owner, token, label, started_ms, renewed_ms, expires_ms)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), MAX(((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) * 1000), COALESCE((SELECT token + 1 FROM "main"."locks" WHERE key = ''), 0)), json_extract(value, '$[3]'),
       (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)), (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)), MIN((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) + json_extract(value, '$[2]'), 9007199254740991)
  FROM json_each(@requests)
 WHERE TRUE
ON CONFLICT (key) DO UPDATE
   SET token = MAX(token + 1, excluded.token),
       last_label      = CASE WHEN owner IS NULL THEN last_label      ELSE label END,
       last_started_ms = CASE WHEN owner IS NULL THEN last_started_ms ELSE started_ms END,
       last_ended_ms   = CASE WHEN owner IS NULL THEN last_ended_ms   ELSE MIN(expires_ms, (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER))) END,
       last_outcome    = CASE WHEN owner IS NULL THEN last_outcome    ELSE 'failed' END,
       owner = excluded.owner, label = excluded.label, started_ms = excluded.started_ms,
       renewed_ms = excluded.renewed_ms, expires_ms = excluded.expires_ms
 WHERE NOT paused AND expires_ms <= (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER))
RETURNING key, token;

-- acquire-look
SELECT key, owner IS NOT NULL AS owned, token, expires_ms, label, started_ms, renewed_ms, tick_ms, paused,
       last_label, last_started_ms, last_ended_ms, last_outcome, (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) AS now_ms,
       (SELECT started_ms FROM "main"."locks" WHERE key = '') AS grace_started_ms, (SELECT expires_ms FROM "main"."locks" WHERE key = '') AS grace_expires_ms
  FROM (SELECT 1) LEFT JOIN "main"."locks" ON key = @key;

-- acquire-many-look
SELECT wanted, COALESCE(owner = wanted_by, FALSE) AS own, key, owner IS NOT NULL AS owned, token, expires_ms, label, started_ms, renewed_ms, tick_ms, paused,
       last_label, last_started_ms, last_ended_ms, last_outcome, (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) AS now_ms,
       (SELECT started_ms FROM "main"."locks" WHERE key = '') AS grace_started_ms, (SELECT expires_ms FROM "main"."locks" WHERE key = '') AS grace_expires_ms
  FROM (SELECT json_extract(value, '$[0]') AS wanted, json_extract(value, '$[1]') AS wanted_by
          FROM json_each(@requests)) LEFT JOIN "main"."locks" ON key = wanted
 WHERE paused OR expires_ms > (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) OR owner = wanted_by OR key IS NULL AND grace_started_ms IS NOT NULL;

-- renew
UPDATE "main"."locks" SET renewed_ms = (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)), expires_ms = MIN((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) + @ttl, 9007199254740991)
 WHERE key = @key AND owner = @owner AND expires_ms > (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER));

-- renew-many
UPDATE "main"."locks" SET renewed_ms = (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)), expires_ms = MIN((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) + lease.ttl, 9007199254740991)
  FROM (SELECT json_extract(value, '$[0]') AS k, json_extract(value, '$[1]') AS o,
               json_extract(value, '$[2]') AS ttl FROM json_each(@leases)) AS lease
 WHERE key = lease.k AND owner = lease.o AND expires_ms > (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER))
RETURNING key, owner;

-- release
UPDATE "main"."locks"
   SET owner = NULL, expires_ms = CASE WHEN @keepFor > 0 THEN MIN((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) + @keepFor, 9007199254740991) ELSE 0 END,
       last_label = label, last_started_ms = started_ms, last_ended_ms = (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)), last_outcome = @outcome
 WHERE key = @key AND owner = @owner AND expires_ms > (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER));

-- release-many
UPDATE "main"."locks"
   SET owner = NULL, expires_ms = 0,
       last_label = label, last_started_ms = started_ms, last_ended_ms = (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)), last_outcome = ended.outcome
  FROM (SELECT json_extract(value, '$[0]') AS k, json_extract(value, '$[1]') AS o,
               json_extract(value, '$[2]') AS outcome FROM json_each(@releases)) AS ended
 WHERE key = ended.k AND owner = ended.o AND expires_ms > (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER))
RETURNING key;

-- release-to-waiter
UPDATE "main"."locks"
   SET token = MAX(token + 1, ((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) * 1000)),
       last_label = label, last_started_ms = started_ms, last_ended_ms = (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)), last_outcome = @outcome,
       owner = @nextOwner, label = @label, started_ms = (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)), renewed_ms = (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)), expires_ms = MIN((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) + @ttl, 9007199254740991)
 WHERE key = @key AND owner = @owner AND expires_ms > (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) AND NOT paused
RETURNING token;

-- lease-look
SELECT paused FROM "main"."locks" WHERE key = @key AND owner = @owner AND expires_ms > (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER));

-- force-release
UPDATE "main"."locks"
   SET owner = NULL, expires_ms = 0,
       last_label      = CASE WHEN owner IS NULL THEN last_label      ELSE label END,
       last_started_ms = CASE WHEN owner IS NULL THEN last_started_ms ELSE started_ms END,
       last_ended_ms   = CASE WHEN owner IS NULL THEN last_ended_ms   ELSE (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) END,
       last_outcome    = CASE WHEN owner IS NULL THEN last_outcome    ELSE 'failed' END
 WHERE key = @key AND expires_ms > (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER));

-- pause
INSERT INTO "main"."locks" (key, token, expires_ms, paused)
VALUES (@key, MAX(((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) * 1000), COALESCE((SELECT token + 1 FROM "main"."locks" WHERE key = ''), 0)), COALESCE((SELECT expires_ms FROM "main"."locks" WHERE key = ''), 0), TRUE)
ON CONFLICT (key) DO UPDATE SET paused = TRUE WHERE NOT paused;

-- resume
UPDATE "main"."locks" SET paused = FALSE WHERE key = @key AND paused;

-- guard
UPDATE "main"."locks" SET token = token
 WHERE key = @key AND owner = @owner AND token = @token AND expires_ms > (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER));

-- read-clock
SELECT (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) AS now_ms;

-- inspect
SELECT key, owner IS NOT NULL AS owned, token, expires_ms, label, started_ms, renewed_ms, tick_ms, paused,
       last_label, last_started_ms, last_ended_ms, last_outcome, (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) AS now_ms
  FROM "main"."locks" WHERE key = @key;

-- list
SELECT key, owner IS NOT NULL AS owned, token, expires_ms, label, started_ms, renewed_ms, tick_ms, paused,
       last_label, last_started_ms, last_ended_ms, last_outcome, (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) AS now_ms
  FROM "main"."locks"
 WHERE key > @after AND key >= @prefix AND substr(key, 1, length(@prefix)) = @prefix AND expires_ms > (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER))
 ORDER BY key LIMIT @limit;

-- purge-look
SELECT key, substr(key, 1, length(@prefix)) = @prefix AND NOT paused AND token < ((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) * 1000)
   AND MAX(expires_ms, COALESCE(renewed_ms, 0), COALESCE(last_ended_ms, 0), COALESCE(tick_ms, 0)) <= (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) - @olderThan AS unused
  FROM "main"."locks" WHERE key > @after AND key >= @prefix ORDER BY key LIMIT 100;

-- purge
DELETE FROM "main"."locks" WHERE key IN (SELECT value FROM json_each(@keys)) AND NOT paused AND token < ((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) * 1000)
AND MAX(expires_ms, COALESCE(renewed_ms, 0), COALESCE(last_ended_ms, 0), COALESCE(tick_ms, 0)) <= (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) - @olderThan;

-- grace-period
INSERT INTO "main"."locks" AS t (key, token, expires_ms, label, started_ms, renewed_ms)
VALUES ('', 0, MIN((CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)) + 20000, 9007199254740991), 'the lock table, which was made again', (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)), (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)))
ON CONFLICT (key) DO UPDATE
   SET expires_ms = MAX(t.expires_ms, MIN(COALESCE(t.started_ms, (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER))) + 20000, 9007199254740991)),
       label = 'the lock table, which was made again', renewed_ms = COALESCE(t.started_ms, (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER))), started_ms = COALESCE(t.started_ms, (CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER)));
