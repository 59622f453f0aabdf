-- create-table
CREATE TABLE IF NOT EXISTS "app"."locks" (
  key varchar(255) COLLATE "C" NOT NULL PRIMARY KEY,
  owner varchar(64),
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
  last_outcome varchar(16),
  waiting varchar(16)[]
) WITH (fillfactor = 50);

-- acquire
WITH taken$ AS (
  UPDATE "app"."locks" AS t
     SET token = GREATEST(t.token + 1, (date_part('epoch', clock_timestamp()) * 1000000)::bigint),
         last_label      = CASE WHEN t.owner IS NULL THEN t.last_label      ELSE t.label END,
         last_started_ms = CASE WHEN t.owner IS NULL THEN t.last_started_ms ELSE t.started_ms END,
         last_ended_ms   = CASE WHEN t.owner IS NULL THEN t.last_ended_ms   ELSE LEAST(t.expires_ms, (date_part('epoch', clock_timestamp()) * 1000)::bigint) END,
         last_outcome    = CASE WHEN t.owner IS NULL THEN t.last_outcome    ELSE 'failed' END,
         owner = $2, label = $4, started_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint, renewed_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint, expires_ms = LEAST((date_part('epoch', clock_timestamp()) * 1000)::bigint + $3::bigint, 9007199254740991)
   WHERE t.key = (SELECT t.key FROM "app"."locks" AS t
                   WHERE t.key = $1 AND NOT t.paused AND t.expires_ms <= (date_part('epoch', clock_timestamp()) * 1000)::bigint
                     FOR UPDATE SKIP LOCKED)
     AND CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END
  RETURNING t.token
)
SELECT won.token AS won, CASE WHEN won.token IS NULL THEN json_build_object('key', t.key, 'owned', t.owner IS NOT NULL, 'token', t.token, 'expires_ms', t.expires_ms, 'label', t.label,
              'started_ms', t.started_ms, 'renewed_ms', t.renewed_ms, 'tick_ms', t.tick_ms, 'paused', t.paused, 'now_ms', (date_part('epoch', clock_timestamp()) * 1000)::bigint)::text END AS refuser
  FROM (SELECT 1) AS answer
  LEFT JOIN taken$ AS won ON true
  LEFT JOIN "app"."locks" AS t ON t.key = $1 AND won.token IS NULL;

-- acquire-or-queue
WITH locked$ AS MATERIALIZED (
  SELECT t.key, t.expires_ms <= (date_part('epoch', clock_timestamp()) * 1000)::bigint AS free FROM "app"."locks" AS t
   WHERE t.key = $1 AND NOT t.paused
     AND (t.expires_ms <= (date_part('epoch', clock_timestamp()) * 1000)::bigint OR COALESCE($5 <> ALL (t.waiting) AND cardinality(t.waiting) < 100, true))
     FOR UPDATE SKIP LOCKED
), changed$ AS (
  UPDATE "app"."locks" AS t
     SET token = CASE WHEN locked.free THEN GREATEST(t.token + 1, (date_part('epoch', clock_timestamp()) * 1000000)::bigint) ELSE t.token END,
         last_label      = CASE WHEN locked.free AND t.owner IS NOT NULL THEN t.label                        ELSE t.last_label      END,
         last_started_ms = CASE WHEN locked.free AND t.owner IS NOT NULL THEN t.started_ms                   ELSE t.last_started_ms END,
         last_ended_ms   = CASE WHEN locked.free AND t.owner IS NOT NULL THEN LEAST(t.expires_ms, (date_part('epoch', clock_timestamp()) * 1000)::bigint) ELSE t.last_ended_ms   END,
         last_outcome    = CASE WHEN locked.free AND t.owner IS NOT NULL THEN 'failed'                       ELSE t.last_outcome    END,
         owner      = CASE WHEN locked.free THEN $2 ELSE t.owner END,
         label      = CASE WHEN locked.free THEN $4 ELSE t.label END,
         started_ms = CASE WHEN locked.free THEN (date_part('epoch', clock_timestamp()) * 1000)::bigint ELSE t.started_ms END,
         renewed_ms = CASE WHEN locked.free THEN (date_part('epoch', clock_timestamp()) * 1000)::bigint ELSE t.renewed_ms END,
         expires_ms = CASE WHEN locked.free THEN LEAST((date_part('epoch', clock_timestamp()) * 1000)::bigint + $3::bigint, 9007199254740991) ELSE t.expires_ms END,
         waiting    = CASE WHEN locked.free THEN t.waiting
                           WHEN $6::boolean THEN array_prepend($5::varchar, t.waiting)
                           ELSE array_append(t.waiting, $5::varchar) END
    FROM locked$ AS locked
   WHERE t.key = locked.key
     AND CASE WHEN locked.free THEN CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END ELSE set_config('synchronous_commit', 'off', true) <> '' END
  RETURNING locked.free, t.token, CASE WHEN NOT locked.free THEN json_build_object('key', t.key, 'owned', t.owner IS NOT NULL, 'token', t.token, 'expires_ms', t.expires_ms, 'label', t.label,
              'started_ms', t.started_ms, 'renewed_ms', t.renewed_ms, 'tick_ms', t.tick_ms, 'paused', t.paused, 'now_ms', (date_part('epoch', clock_timestamp()) * 1000)::bigint)::text END AS refuser
)
SELECT CASE WHEN changed.free THEN changed.token END AS won,
       CASE WHEN NOT changed.free THEN changed.refuser WHEN changed.free IS NULL THEN json_build_object('key', t.key, 'owned', t.owner IS NOT NULL, 'token', t.token, 'expires_ms', t.expires_ms, 'label', t.label,
              'started_ms', t.started_ms, 'renewed_ms', t.renewed_ms, 'tick_ms', t.tick_ms, 'paused', t.paused, 'now_ms', (date_part('epoch', clock_timestamp()) * 1000)::bigint)::text END AS refuser,
       changed.free IS NOT NULL OR COALESCE($5 = ANY (t.waiting), false) AS queued
  FROM (SELECT 1) AS answer
  LEFT JOIN changed$ AS changed ON true
  LEFT JOIN "app"."locks" AS t ON t.key = $1 AND changed.free IS NULL;

-- acquire-on-conditions
WITH taken$ AS (
  UPDATE "app"."locks" AS t
     SET token = GREATEST(t.token + 1, (date_part('epoch', clock_timestamp()) * 1000000)::bigint),
         last_label      = CASE WHEN t.owner IS NULL THEN t.last_label      ELSE t.label END,
         last_started_ms = CASE WHEN t.owner IS NULL THEN t.last_started_ms ELSE t.started_ms END,
         last_ended_ms   = CASE WHEN t.owner IS NULL THEN t.last_ended_ms   ELSE LEAST(t.expires_ms, (date_part('epoch', clock_timestamp()) * 1000)::bigint) END,
         last_outcome    = CASE WHEN t.owner IS NULL THEN t.last_outcome    ELSE 'failed' END,
         tick_ms = COALESCE($5::bigint, (date_part('epoch', clock_timestamp()) * 1000)::bigint - (date_part('epoch', clock_timestamp()) * 1000)::bigint % $7::bigint, CASE WHEN $8::bigint > 0 THEN (date_part('epoch', clock_timestamp()) * 1000)::bigint END, t.tick_ms),
         owner = $2, label = $4, started_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint, renewed_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint, expires_ms = LEAST((date_part('epoch', clock_timestamp()) * 1000)::bigint + $3::bigint, 9007199254740991)
   WHERE t.key = (SELECT t.key FROM "app"."locks" AS t
                   WHERE t.key = $1
                     AND COALESCE($5::bigint <= (date_part('epoch', clock_timestamp()) * 1000)::bigint + $6::bigint, true)
                     AND NOT t.paused
                     AND (COALESCE(t.tick_ms < COALESCE($5::bigint, (date_part('epoch', clock_timestamp()) * 1000)::bigint - (date_part('epoch', clock_timestamp()) * 1000)::bigint % $7::bigint, (date_part('epoch', clock_timestamp()) * 1000)::bigint - $8::bigint + 1), true)
                          OR t.owner IS NOT NULL AND t.tick_ms = $9::bigint
                          OR t.tick_ms = $10::bigint)
                     AND (t.expires_ms <= (date_part('epoch', clock_timestamp()) * 1000)::bigint
                          OR t.owner IS NOT NULL AND t.renewed_ms <= (date_part('epoch', clock_timestamp()) * 1000)::bigint - $11::bigint)
                     FOR UPDATE SKIP LOCKED)
     AND CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END
  RETURNING t.token
)
SELECT won.token AS won, CASE WHEN won.token IS NULL THEN json_build_object('key', t.key, 'owned', t.owner IS NOT NULL, 'token', t.token, 'expires_ms', t.expires_ms, 'label', t.label,
              'started_ms', t.started_ms, 'renewed_ms', t.renewed_ms, 'tick_ms', t.tick_ms, 'paused', t.paused, 'now_ms', (date_part('epoch', clock_timestamp()) * 1000)::bigint)::text END AS refuser
  FROM (SELECT 1) AS answer
  LEFT JOIN taken$ AS won ON true
  LEFT JOIN "app"."locks" AS t ON t.key = $1 AND won.token IS NULL;

-- acquire-again
WITH taken$ AS (
  UPDATE "app"."locks" AS t
     SET token = CASE WHEN t.owner = $2 THEN t.token ELSE GREATEST(t.token + 1, (date_part('epoch', clock_timestamp()) * 1000000)::bigint) END,
         last_label      = CASE WHEN t.owner IS NULL OR t.owner = $2 THEN t.last_label      ELSE t.label END,
         last_started_ms = CASE WHEN t.owner IS NULL OR t.owner = $2 THEN t.last_started_ms ELSE t.started_ms END,
         last_ended_ms   = CASE WHEN t.owner IS NULL OR t.owner = $2 THEN t.last_ended_ms   ELSE LEAST(t.expires_ms, (date_part('epoch', clock_timestamp()) * 1000)::bigint) END,
         last_outcome    = CASE WHEN t.owner IS NULL OR t.owner = $2 THEN t.last_outcome    ELSE 'failed' END,
         tick_ms = CASE WHEN t.owner = $2 THEN t.tick_ms
                        ELSE COALESCE($5::bigint, (date_part('epoch', clock_timestamp()) * 1000)::bigint - (date_part('epoch', clock_timestamp()) * 1000)::bigint % $7::bigint, CASE WHEN $8::bigint > 0 THEN (date_part('epoch', clock_timestamp()) * 1000)::bigint END, t.tick_ms) END,
         started_ms = CASE WHEN t.owner = $2 THEN t.started_ms ELSE (date_part('epoch', clock_timestamp()) * 1000)::bigint END,
         owner = $2, label = $4, renewed_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint, expires_ms = LEAST((date_part('epoch', clock_timestamp()) * 1000)::bigint + $3::bigint, 9007199254740991)
   WHERE t.key = (SELECT t.key FROM "app"."locks" AS t
                   WHERE t.key = $1
                     AND COALESCE($5::bigint <= (date_part('epoch', clock_timestamp()) * 1000)::bigint + $6::bigint, true)
                     AND (NOT t.paused
                          AND (COALESCE(t.tick_ms < COALESCE($5::bigint, (date_part('epoch', clock_timestamp()) * 1000)::bigint - (date_part('epoch', clock_timestamp()) * 1000)::bigint % $7::bigint, (date_part('epoch', clock_timestamp()) * 1000)::bigint - $8::bigint + 1), true)
                               OR t.owner IS NOT NULL AND t.tick_ms = $9::bigint
                               OR t.tick_ms = $10::bigint)
                          AND (t.expires_ms <= (date_part('epoch', clock_timestamp()) * 1000)::bigint
                               OR t.owner IS NOT NULL AND t.renewed_ms <= (date_part('epoch', clock_timestamp()) * 1000)::bigint - $11::bigint)
                          OR t.owner = $2)
                     FOR UPDATE SKIP LOCKED)
     AND CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END
  RETURNING t.token
)
SELECT won.token AS won, CASE WHEN won.token IS NULL THEN json_build_object('key', t.key, 'owned', t.owner IS NOT NULL, 'token', t.token, 'expires_ms', t.expires_ms, 'label', t.label,
              'started_ms', t.started_ms, 'renewed_ms', t.renewed_ms, 'tick_ms', t.tick_ms, 'paused', t.paused, 'now_ms', (date_part('epoch', clock_timestamp()) * 1000)::bigint)::text END AS refuser
  FROM (SELECT 1) AS answer
  LEFT JOIN taken$ AS won ON true
  LEFT JOIN "app"."locks" AS t ON t.key = $1 AND won.token IS NULL;

-- acquire-new
INSERT INTO "app"."locks" (key, owner, token, label, started_ms, renewed_ms, expires_ms)
SELECT $1::varchar, $2, (date_part('epoch', clock_timestamp()) * 1000000)::bigint, $4, (date_part('epoch', clock_timestamp()) * 1000)::bigint, (date_part('epoch', clock_timestamp()) * 1000)::bigint, LEAST((date_part('epoch', clock_timestamp()) * 1000)::bigint + $3::bigint, 9007199254740991)
 WHERE NOT EXISTS (SELECT 1 FROM "app"."locks" WHERE key = $1::varchar) AND CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END
   AND COALESCE((SELECT GREATEST(expires_ms, started_ms + $5::bigint) FROM "app"."locks" WHERE key = '') <= (date_part('epoch', clock_timestamp()) * 1000)::bigint, true)
ON CONFLICT (key) DO NOTHING
RETURNING token AS won;

-- acquire-on-conditions-new
INSERT INTO "app"."locks" (key, owner, token, label, started_ms, renewed_ms, expires_ms, tick_ms)
SELECT $1::varchar, $2, (date_part('epoch', clock_timestamp()) * 1000000)::bigint, $4, (date_part('epoch', clock_timestamp()) * 1000)::bigint, (date_part('epoch', clock_timestamp()) * 1000)::bigint, LEAST((date_part('epoch', clock_timestamp()) * 1000)::bigint + $3::bigint, 9007199254740991),
       COALESCE($5::bigint, (date_part('epoch', clock_timestamp()) * 1000)::bigint - (date_part('epoch', clock_timestamp()) * 1000)::bigint % $7::bigint, CASE WHEN $8::bigint > 0 THEN (date_part('epoch', clock_timestamp()) * 1000)::bigint END)
 WHERE COALESCE($5::bigint <= (date_part('epoch', clock_timestamp()) * 1000)::bigint + $6::bigint, true)
   AND NOT EXISTS (SELECT 1 FROM "app"."locks" WHERE key = $1::varchar) AND CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END
   AND COALESCE((SELECT GREATEST(expires_ms, started_ms + $9::bigint) FROM "app"."locks" WHERE key = '') <= (date_part('epoch', clock_timestamp()) * 1000)::bigint, true)
ON CONFLICT (key) DO NOTHING
RETURNING token AS won;

-- acquire-many
WITH want$ AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::boolean[])
                  WITH ORDINALITY AS w (key, owner, ttl, label, again, place)
), free$ AS MATERIALIZED (
  SELECT w.*
    FROM want$ AS w,
         LATERAL (SELECT FROM "app"."locks" AS t WHERE t.key = w.key AND NOT t.paused AND t.expires_ms <= (date_part('epoch', clock_timestamp()) * 1000)::bigint
                    AND (w.again AND t.owner = w.owner) IS NOT TRUE
                  OFFSET 0 FOR UPDATE SKIP LOCKED) AS t
), taken$ AS (
  UPDATE "app"."locks" AS t
     SET token = GREATEST(t.token + 1, (date_part('epoch', clock_timestamp()) * 1000000)::bigint),
         last_label      = CASE WHEN t.owner IS NULL THEN t.last_label      ELSE t.label END,
         last_started_ms = CASE WHEN t.owner IS NULL THEN t.last_started_ms ELSE t.started_ms END,
         last_ended_ms   = CASE WHEN t.owner IS NULL THEN t.last_ended_ms   ELSE LEAST(t.expires_ms, (date_part('epoch', clock_timestamp()) * 1000)::bigint) END,
         last_outcome    = CASE WHEN t.owner IS NULL THEN t.last_outcome    ELSE 'failed' END,
         owner = free.owner, label = free.label, started_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint, renewed_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint,
         expires_ms = LEAST((date_part('epoch', clock_timestamp()) * 1000)::bigint + free.ttl, 9007199254740991)
    FROM free$ AS free
   WHERE t.key = free.key AND CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END
  RETURNING free.place, t.token
)
SELECT w.place, won.token AS won,
       CASE WHEN won.token IS NULL
            THEN (SELECT json_build_object('key', t.key, 'owned', t.owner IS NOT NULL, 'token', t.token, 'expires_ms', t.expires_ms, 'label', t.label,
              'started_ms', t.started_ms, 'renewed_ms', t.renewed_ms, 'tick_ms', t.tick_ms, 'paused', t.paused, 'now_ms', (date_part('epoch', clock_timestamp()) * 1000)::bigint)::text FROM "app"."locks" AS t
                   WHERE t.key = w.key AND (w.again AND t.owner = w.owner) IS NOT TRUE) END AS refuser
  FROM want$ AS w LEFT JOIN taken$ AS won ON won.place = w.place;

-- acquire-many-new
INSERT INTO "app"."locks" (key, owner, token, label, started_ms, renewed_ms, expires_ms)
SELECT w.key, w.owner, (date_part('epoch', clock_timestamp()) * 1000000)::bigint, w.label, (date_part('epoch', clock_timestamp()) * 1000)::bigint, (date_part('epoch', clock_timestamp()) * 1000)::bigint, LEAST((date_part('epoch', clock_timestamp()) * 1000)::bigint + w.ttl, 9007199254740991)
  FROM (SELECT set_config('lock_timeout', '100', true) AS lock_timeout) AS briefly,
       unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS w (key, owner, ttl, label)
 WHERE briefly.lock_timeout <> ''
   AND NOT EXISTS (SELECT 1 FROM "app"."locks" AS t WHERE t.key = w.key) AND CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END
   AND COALESCE((SELECT GREATEST(expires_ms, started_ms + $5::bigint) FROM "app"."locks" WHERE key = '') <= (date_part('epoch', clock_timestamp()) * 1000)::bigint, true)
 ORDER BY w.key
ON CONFLICT (key) DO NOTHING
RETURNING key, token AS won;

-- renew
UPDATE "app"."locks" AS t SET renewed_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint, expires_ms = LEAST((date_part('epoch', clock_timestamp()) * 1000)::bigint + $3::bigint, 9007199254740991)
 WHERE t.key = (SELECT t.key FROM "app"."locks" AS t
                 WHERE t.key = $1 AND t.owner = $2 AND t.expires_ms > (date_part('epoch', clock_timestamp()) * 1000)::bigint FOR UPDATE SKIP LOCKED)
   AND CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END;

-- lease-look
SELECT t.paused FROM "app"."locks" AS t WHERE t.key = $1 AND t.owner = $2 AND t.expires_ms > (date_part('epoch', clock_timestamp()) * 1000)::bigint;

-- renew-many
WITH mine$ AS (
  SELECT t.key, l.ttl, l.place
    FROM "app"."locks" AS t
    JOIN unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS l (key, owner, ttl, place)
      ON t.key = l.key AND t.owner = l.owner
   WHERE t.expires_ms > (date_part('epoch', clock_timestamp()) * 1000)::bigint FOR UPDATE OF t SKIP LOCKED
)
UPDATE "app"."locks" AS t SET renewed_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint, expires_ms = LEAST((date_part('epoch', clock_timestamp()) * 1000)::bigint + mine.ttl::bigint, 9007199254740991)
  FROM mine$ AS mine WHERE t.key = mine.key AND CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END
RETURNING mine.place;

-- renew-many-look
SELECT l.place
  FROM "app"."locks" AS t
  JOIN unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS l (key, owner, ttl, place)
    ON t.key = l.key AND t.owner = l.owner
 WHERE t.expires_ms > (date_part('epoch', clock_timestamp()) * 1000)::bigint;

-- release-many
WITH mine$ AS MATERIALIZED (
  SELECT t.key, l.outcome, l.place
    FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS l (key, owner, outcome, place),
         LATERAL (SELECT t.key FROM "app"."locks" AS t
                   WHERE t.key = l.key AND t.owner = l.owner AND t.expires_ms > (date_part('epoch', clock_timestamp()) * 1000)::bigint AND t.waiting IS NULL
                  OFFSET 0 FOR UPDATE SKIP LOCKED) AS t
)
UPDATE "app"."locks" AS t
   SET owner = NULL, expires_ms = 0,
       last_label = t.label, last_started_ms = t.started_ms, last_ended_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint, last_outcome = mine.outcome
  FROM mine$ AS mine WHERE t.key = mine.key
RETURNING mine.place;

-- release-later
UPDATE "app"."locks" AS t
   SET owner = NULL, expires_ms = LEAST((date_part('epoch', clock_timestamp()) * 1000)::bigint + $3::bigint, 9007199254740991),
       last_label = t.label, last_started_ms = t.started_ms, last_ended_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint, last_outcome = $4
 WHERE t.key = (SELECT t.key FROM "app"."locks" AS t
                 WHERE t.key = $1 AND t.owner = $2 AND t.expires_ms > (date_part('epoch', clock_timestamp()) * 1000)::bigint FOR UPDATE SKIP LOCKED)
   AND CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END;

-- release-to-waiter
UPDATE "app"."locks" AS t
   SET token = GREATEST(t.token + 1, (date_part('epoch', clock_timestamp()) * 1000000)::bigint),
       last_label = t.label, last_started_ms = t.started_ms, last_ended_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint, last_outcome = $3,
       owner = $4, label = $6, started_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint, renewed_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint, expires_ms = LEAST((date_part('epoch', clock_timestamp()) * 1000)::bigint + $5::bigint, 9007199254740991)
 WHERE t.key = (SELECT t.key FROM "app"."locks" AS t
                 WHERE t.key = $1 AND t.owner = $2 AND t.expires_ms > (date_part('epoch', clock_timestamp()) * 1000)::bigint AND NOT t.paused FOR UPDATE SKIP LOCKED)
   AND CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END
RETURNING t.token;

-- release
UPDATE "app"."locks" AS t
   SET owner = NULL, expires_ms = 0,
       last_label = t.label, last_started_ms = t.started_ms, last_ended_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint, last_outcome = $3
 WHERE t.key = (SELECT t.key FROM "app"."locks" AS t
                 WHERE t.key = $1 AND t.owner = $2 AND t.expires_ms > (date_part('epoch', clock_timestamp()) * 1000)::bigint AND t.waiting IS NULL FOR UPDATE SKIP LOCKED);

-- release-and-notify
UPDATE "app"."locks" AS t
   SET owner = NULL, expires_ms = 0,
       last_label = t.label, last_started_ms = t.started_ms, last_ended_ms = (date_part('epoch', clock_timestamp()) * 1000)::bigint, last_outcome = $3,
       waiting = CASE WHEN mine.others[1] IS NOT NULL
                      THEN NULLIF(mine.others[2:], '{}') || CASE WHEN $5::boolean THEN ARRAY[$4::varchar] END END
  FROM (SELECT t.key, array_remove(t.waiting, $4::varchar) AS others FROM "app"."locks" AS t
         WHERE t.key = $1 AND t.owner = $2 AND t.expires_ms > (date_part('epoch', clock_timestamp()) * 1000)::bigint FOR UPDATE SKIP LOCKED) AS mine
 WHERE t.key = mine.key
RETURNING mine.others[1] AS notified, CASE WHEN mine.others[1] IS NOT NULL THEN pg_notify(mine.others[1], t.key)::text END AS sent;

-- wait
WITH lazily$ AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
UPDATE "app"."locks" AS t
   SET waiting = CASE WHEN $3::boolean THEN array_prepend($2::varchar, t.waiting) ELSE array_append(t.waiting, $2::varchar) END
  FROM lazily$, (SELECT t.key FROM "app"."locks" AS t
                  WHERE t.key = $1 AND NOT t.paused AND t.expires_ms > (date_part('epoch', clock_timestamp()) * 1000)::bigint
                    AND COALESCE($2 <> ALL (t.waiting) AND cardinality(t.waiting) < 100, true) FOR UPDATE SKIP LOCKED) AS held
 WHERE t.key = held.key;

-- wait-look
SELECT $2 = ANY (t.waiting) AS queued, cardinality(t.waiting) >= 100 AS is_full FROM "app"."locks" AS t
 WHERE t.key = $1 AND NOT t.paused AND t.expires_ms > (date_part('epoch', clock_timestamp()) * 1000)::bigint;

-- notify-next
UPDATE "app"."locks" AS t
   SET waiting = CASE WHEN free.others[1] IS NOT NULL THEN NULLIF(free.others[2:], '{}') END
  FROM (SELECT t.key, array_remove(t.waiting, $2::varchar) AS others FROM "app"."locks" AS t
         WHERE t.key = $1 AND t.expires_ms <= (date_part('epoch', clock_timestamp()) * 1000)::bigint AND t.waiting IS NOT NULL FOR UPDATE SKIP LOCKED) AS free
 WHERE t.key = free.key
RETURNING free.others[1] AS notified, CASE WHEN free.others[1] IS NOT NULL THEN pg_notify(free.others[1], t.key)::text END AS sent;

-- force-release
UPDATE "app"."locks" AS t
   SET owner = NULL, expires_ms = 0,
       last_label      = CASE WHEN t.owner IS NULL THEN t.last_label      ELSE t.label END,
       last_started_ms = CASE WHEN t.owner IS NULL THEN t.last_started_ms ELSE t.started_ms END,
       last_ended_ms   = CASE WHEN t.owner IS NULL THEN t.last_ended_ms   ELSE (date_part('epoch', clock_timestamp()) * 1000)::bigint END,
       last_outcome    = CASE WHEN t.owner IS NULL THEN t.last_outcome    ELSE 'failed' END,
       waiting = CASE WHEN held.others[1] IS NOT NULL THEN NULLIF(held.others[2:], '{}') END
  FROM (SELECT t.key, array_remove(t.waiting, $2::varchar) AS others FROM "app"."locks" AS t
         WHERE t.key = $1 AND t.expires_ms > (date_part('epoch', clock_timestamp()) * 1000)::bigint FOR UPDATE SKIP LOCKED) AS held
 WHERE t.key = held.key
RETURNING held.others[1] AS notified, CASE WHEN held.others[1] IS NOT NULL THEN pg_notify(held.others[1], t.key)::text END AS sent;

-- force-release-look
SELECT 1 FROM "app"."locks" AS t WHERE t.key = $1 AND t.expires_ms > (date_part('epoch', clock_timestamp()) * 1000)::bigint;

-- pause
WITH changed$ AS (
  UPDATE "app"."locks" AS t SET paused = true
   WHERE t.key = (SELECT t.key FROM "app"."locks" AS t WHERE t.key = $1 AND NOT t.paused FOR UPDATE SKIP LOCKED)
     AND CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END
  RETURNING t.key
), added$ AS (
  INSERT INTO "app"."locks" (key, token, expires_ms, paused)
  SELECT $1, (date_part('epoch', clock_timestamp()) * 1000000)::bigint, COALESCE((SELECT GREATEST(expires_ms, started_ms) FROM "app"."locks" WHERE key = ''), 0), true
   WHERE NOT EXISTS (SELECT 1 FROM "app"."locks" WHERE key = $1) AND CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END
  ON CONFLICT (key) DO NOTHING
  RETURNING key
)
SELECT CASE WHEN EXISTS (SELECT 1 FROM changed$) OR EXISTS (SELECT 1 FROM added$) THEN 'done'
            WHEN EXISTS (SELECT 1 FROM "app"."locks" WHERE key = $1 AND paused) THEN 'gone'
            ELSE 'locked' END AS change;

-- resume
UPDATE "app"."locks" AS t SET paused = false
 WHERE t.key = (SELECT t.key FROM "app"."locks" AS t WHERE t.key = $1 AND t.paused FOR UPDATE SKIP LOCKED);

-- resume-look
SELECT 1 FROM "app"."locks" AS t WHERE t.key = $1 AND t.paused;

-- guard
WITH mine$ AS (
  SELECT t.expires_ms FROM "app"."locks" AS t
   WHERE t.key = $1 AND t.owner = $2 AND t.token = $3
     AND current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') FOR SHARE
), guarded$ AS (
  SELECT set_config('idle_in_transaction_session_timeout',
                    LEAST(GREATEST(mine.expires_ms - (date_part('epoch', clock_timestamp()) * 1000)::bigint, 1000), 10000,
                          NULLIF(date_part('epoch', current_setting('idle_in_transaction_session_timeout')::interval) * 1000, 0))::bigint::text,
                    true)
    FROM mine$ AS mine WHERE mine.expires_ms > (date_part('epoch', clock_timestamp()) * 1000)::bigint
)
SELECT CASE WHEN NOT current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN 'snapshot'
            WHEN EXISTS (SELECT 1 FROM guarded$) THEN 'held'
            ELSE 'gone' END AS guarded;

-- read-clock
SELECT (date_part('epoch', clock_timestamp()) * 1000)::bigint AS now_ms;

-- inspect
SELECT t.key, t.owner IS NOT NULL AS owned, t.token, t.expires_ms, t.label, t.started_ms, t.renewed_ms, t.tick_ms, t.paused,
(date_part('epoch', clock_timestamp()) * 1000)::bigint AS now_ms, t.last_label, t.last_started_ms, t.last_ended_ms, t.last_outcome FROM "app"."locks" AS t WHERE t.key = $1;

-- list
SELECT t.key, t.owner IS NOT NULL AS owned, t.token, t.expires_ms, t.label, t.started_ms, t.renewed_ms, t.tick_ms, t.paused,
       (date_part('epoch', clock_timestamp()) * 1000)::bigint AS now_ms, t.last_label, t.last_started_ms, t.last_ended_ms, t.last_outcome FROM "app"."locks" AS t
 WHERE t.key > $1 AND t.key >= $2 AND starts_with(t.key, $2) AND t.expires_ms > (date_part('epoch', clock_timestamp()) * 1000)::bigint
 ORDER BY t.key LIMIT $3;

-- purge
WITH slice$ AS (
  SELECT key FROM "app"."locks" WHERE key > $1 AND key >= $2 ORDER BY key LIMIT 100
), unused$ AS (
  SELECT t.key FROM "app"."locks" AS t
   WHERE t.key > $1 AND t.key >= $2 AND t.key <= (SELECT max(key) FROM slice$) AND starts_with(t.key, $2)
     AND NOT t.paused AND t.token < (date_part('epoch', clock_timestamp()) * 1000000)::bigint
     AND GREATEST(t.expires_ms, t.renewed_ms, t.last_ended_ms, t.tick_ms) <= (date_part('epoch', clock_timestamp()) * 1000)::bigint - $3::bigint
     FOR UPDATE SKIP LOCKED
), purged$ AS (
  DELETE FROM "app"."locks" WHERE key = ANY (ARRAY(SELECT key FROM unused$)) RETURNING key
)
SELECT (SELECT count(*) FROM purged$) AS purged,
       (SELECT CASE WHEN count(*) = 100 THEN max(key) END FROM slice$) AS last;

-- grace-period
INSERT INTO "app"."locks" AS t (key, token, expires_ms, label, started_ms, renewed_ms)
VALUES ('', 0, LEAST((date_part('epoch', clock_timestamp()) * 1000)::bigint + 20000, 9007199254740991), 'the lock table, which was made again', (date_part('epoch', clock_timestamp()) * 1000)::bigint, (date_part('epoch', clock_timestamp()) * 1000)::bigint)
ON CONFLICT (key) DO UPDATE
   SET expires_ms = GREATEST(t.expires_ms, LEAST(COALESCE(t.started_ms, (date_part('epoch', clock_timestamp()) * 1000)::bigint) + 20000, 9007199254740991)),
       label = 'the lock table, which was made again', renewed_ms = COALESCE(t.started_ms, (date_part('epoch', clock_timestamp()) * 1000)::bigint), started_ms = COALESCE(t.started_ms, (date_part('epoch', clock_timestamp()) * 1000)::bigint);
