import type { RenewalOutcome } from '../../../interfaces/lock-store.interface.js';
import type { ChangeResult, ReleaseResult, GuardResult, LockStatements, Run } from '../lock-statements.js';
import { NEVER, refusalOf, unpassed, type HolderRow, type LockRow, type NoRow } from '../lock-row.js';
import { RESERVED_KEY, refusalInGrace } from '../grace-period.js';
import { CONTENTION, isPlain } from '../../shared/conditions.js';

// clock_timestamp() and not now(): that one stands still from the transaction's start, and granted leases that had already ended.
// date_part() and not extract(): its floating-point number is exact enough until the year 2255, and cheaper than a decimal one.
const MS = `(date_part('epoch', clock_timestamp()) * 1000)::bigint`;
const US = `(date_part('epoch', clock_timestamp()) * 1000000)::bigint`;

/** The channel of a process that does not listen. */
const NOBODY = '';
/** So many processes stand in the line of a key; the row stays small. Others are not called, and ask from time to time. */
const LONGEST_LINE = 100;

/** Milliseconds for which a key may stay held when its release is forgotten. */
const SOON = 60_000;

const IDLE_LIMIT = 'idle_in_transaction_session_timeout';
// If a session does not wait for the disk, a crash would take back a grant whose holder
// believes in it. So these statements wait even there. A session that waits for its own disk
// only, or for some standbys, is left as it is. This is a condition on the row that is
// written, since PostgreSQL computes only what is read. Each statement checks it, since the
// application may change its sessions at any time.
const DURABLY = `CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END`;

const EACH_STATEMENT_SEES_COMMITS = `current_setting('transaction_isolation') IN ('read committed', 'read uncommitted')`;

const HOLDER = `t.key, t.owner IS NOT NULL AS owned, t.token, t.expires_ms, t.label, t.started_ms, t.renewed_ms, t.tick_ms, t.paused,
  ${MS} AS now_ms`;
// One column in place of ten: each costs the driver something, also when it is empty.
const REFUSER = `json_build_object('key', t.key, 'owned', t.owner IS NOT NULL, 'token', t.token, 'expires_ms', t.expires_ms, 'label', t.label,
  'started_ms', t.started_ms, 'renewed_ms', t.renewed_ms, 'tick_ms', t.tick_ms, 'paused', t.paused, 'now_ms', ${MS})::text`;
const ROW = `${HOLDER}, t.last_label, t.last_started_ms, t.last_ended_ms, t.last_outcome`;

/**
 * The statements of PostgreSQL, one round trip each; one more for a key that has no row yet, when a renewal changed nothing, and for the release of a key with
 * a line that this process does not know of; two more when a release changed nothing.
 *
 * Rows are locked with `SKIP LOCKED` before they are written: nobody queues on a row, and a try that fails writes nothing. Names of common table
 * expressions end with `$`, which no lock table's does: one of the same name would hide the table.
 */
export function postgresDialect(table: string, { asyncRelease = false, weak = false } = {}): LockStatements {
  const durably = weak ? 'true' : DURABLY; // weak locks may be lost
  const until = (ttl: string) => `LEAST(${MS} + ${ttl}::bigint, ${NEVER})`;

  // Compared with null, a tick is new, and no lease is old enough to steal. Most attempts ask for neither: a statement of their own spares the rest.
  const slotStart = `${MS} - ${MS} % $7::bigint`;
  const terms = {
    tick: `COALESCE($5::bigint, ${slotStart}, CASE WHEN $8::bigint > 0 THEN ${MS} END)`,
    notAhead: `COALESCE($5::bigint <= ${MS} + $6::bigint, true)`,
    notDone: `(COALESCE(t.tick_ms < COALESCE($5::bigint, ${slotStart}, ${MS} - $8::bigint + 1), true)
                          OR t.owner IS NOT NULL AND t.tick_ms = $9::bigint OR t.tick_ms = $10::bigint)`,
    stolen: `t.owner IS NOT NULL AND t.renewed_ms <= ${MS} - $11::bigint`,
  };
  const noTerms = { tick: 'NULL::bigint', notAhead: 'true', notDone: 'true', stolen: 'false' };

  // The token comes from the clock, so that it also grows across deleted rows and fail-overs. Who is robbed has ended now.
  const acquire = (mine: string, { tick, notAhead, notDone, stolen }: typeof terms) => `
    WITH taken$ AS (
      UPDATE ${table} AS t
         SET token = CASE WHEN ${mine} THEN t.token ELSE GREATEST(t.token + 1, ${US}) END,
             last_label      = CASE WHEN t.owner IS NULL OR ${mine} THEN t.last_label      ELSE t.label END,
             last_started_ms = CASE WHEN t.owner IS NULL OR ${mine} THEN t.last_started_ms ELSE t.started_ms END,
             last_ended_ms   = CASE WHEN t.owner IS NULL OR ${mine} THEN t.last_ended_ms   ELSE LEAST(t.expires_ms, ${MS}) END,
             last_outcome    = CASE WHEN t.owner IS NULL OR ${mine} THEN t.last_outcome    ELSE 'failed' END,
             tick_ms = CASE WHEN ${mine} THEN t.tick_ms ELSE COALESCE(${tick}, t.tick_ms) END,
             owner = $2, label = $4,
             started_ms = CASE WHEN ${mine} THEN t.started_ms ELSE ${MS} END,
             renewed_ms = ${MS}, expires_ms = ${until('$3')}
       WHERE t.key = (SELECT t.key FROM ${table} AS t
                       WHERE t.key = $1 AND ${notAhead}
                         AND (NOT t.paused AND ${notDone} AND (t.expires_ms <= ${MS} OR ${stolen}) OR ${mine})
                         FOR UPDATE SKIP LOCKED)
         AND ${durably}
      RETURNING t.token
    )
    SELECT won.token AS won, CASE WHEN won.token IS NULL THEN ${REFUSER} END AS refuser
      FROM (SELECT 1) AS answer
      LEFT JOIN taken$ AS won ON true
      LEFT JOIN ${table} AS t ON t.key = $1 AND won.token IS NULL`;
  // By itself, and only for a key that was found to have no row: preparing to insert would cost every attempt a tenth of its time. It must not wait for
  // the end of a purge that deletes the row just now: its token would be older than those that others get meanwhile.
  // Nor may a key be granted whose row has vanished with the table, see grace-period.ts.
  const grace = (longest: string) =>
    `SELECT GREATEST(expires_ms, started_ms + ${longest}::bigint) AS until FROM ${table} WHERE key = '${RESERVED_KEY}'`;
  const addition = ({ tick, notAhead }: typeof terms, longest: string) => `
    INSERT INTO ${table} (key, owner, token, label, started_ms, renewed_ms, expires_ms, tick_ms)
    SELECT $1::varchar, $2, ${US}, $4, ${MS}, ${MS}, ${until('$3')}, ${tick}
     WHERE ${notAhead} AND NOT EXISTS (SELECT 1 FROM ${table} WHERE key = $1::varchar) AND ${durably}
       AND COALESCE((${grace(longest)}) <= ${MS}, true)
    ON CONFLICT (key) DO NOTHING
    RETURNING token AS won`;
  const acquisition = (name: string, asked: typeof terms, longest: string) => ({
    first: { name, sql: acquire('false', asked) },
    again: { name: `${name}-again`, sql: acquire('(t.owner IS NOT DISTINCT FROM $2)', asked) },
    add: { name: `${name}-new`, sql: addition(asked, longest) },
  });
  const plain = acquisition('acquire', noTerms, '$5');
  const onTerms = acquisition('acquire-on-terms', terms, '$9');

  // `commit` may set how the statement is committed; it is compared with something, since what nobody reads is not computed. With OFFSET the row is locked
  // before: PostgreSQL would decide by a version of it that has been replaced meanwhile.
  const change = (name: string, set: string, which: string, commit?: string) => {
    const row = (columns: string) =>
      `SELECT ${columns} FROM ${table} AS t WHERE ${which} FOR UPDATE SKIP LOCKED`;
    const mine = commit
      ? `SELECT key FROM (${row('t.key, t.tick_ms, t.expires_ms')} OFFSET 0) AS locked WHERE COALESCE(${commit}, 'as ever') <> ''`
      : row('t.key');
    return {
      name,
      update: `UPDATE ${table} AS t SET ${set} WHERE t.key = (${mine})`,
      look: `SELECT 1 FROM ${table} AS t WHERE ${which}`,
    };
  };
  const durable = ({ update, ...others }: ReturnType<typeof change>) => ({
    ...others,
    update: `${update} AND ${durably}`,
  });
  const lease = `t.key = $1 AND t.owner = $2 AND t.expires_ms > ${MS}`;
  const renew = durable(change('renew', `renewed_ms = ${MS}, expires_ms = ${until('$3')}`, lease));

  // Who frees a key calls the first one of its line but for the own process, which goes to the end if it waits. Nobody is missed: a process gets into the
  // line by a change to the row of a key that is held, and the row is locked here. An empty line is NULL.
  const freeing = (
    name: string,
    set: string,
    which: string,
    [channel, again]: [string, string],
    commit?: string,
  ) => {
    const row = `SELECT t.key, t.tick_ms, t.expires_ms, array_remove(t.waiting, ${channel}::varchar) AS others FROM ${table} AS t
                  WHERE ${which} FOR UPDATE SKIP LOCKED`;
    const first = `WITH locked$ AS MATERIALIZED (${row}), mine$ AS MATERIALIZED (SELECT key, others, ${commit} AS commit FROM locked$)`;
    return {
      name,
      update: `
        ${commit ? first : ''}
        UPDATE ${table} AS t
           SET ${set}, waiting = CASE WHEN mine.others[1] IS NOT NULL
                                      THEN NULLIF(mine.others[2:], '{}') || CASE WHEN ${again}::boolean THEN ARRAY[${channel}::varchar] END END
          FROM ${commit ? 'mine$ AS mine' : `(${row}) AS mine`}
         WHERE t.key = mine.key ${commit ? `AND COALESCE(mine.commit, 'as ever') <> ''` : ''}
        RETURNING mine.others[1] AS called, CASE WHEN mine.others[1] IS NOT NULL THEN pg_notify(mine.others[1], t.key)::text END AS told`,
      look: `SELECT 1 FROM ${table} AS t WHERE ${which}`,
    };
  };
  // 0 and not the clock: after a clock that stepped back the key would stay taken.
  const ended = `owner = NULL, expires_ms = 0,
     last_label = t.label, last_started_ms = t.started_ms, last_ended_ms = ${MS}, last_outcome = $3`;
  // Not durable where a crash that forgets the release costs little: the lease ends soon, and nobody looks whether a tick's run has ended. Decided by
  // the row that is locked; what is committed after it is durable with it.
  const commit = asyncRelease
    ? `CASE WHEN tick_ms IS NULL AND expires_ms <= ${MS} + ${SOON} THEN set_config('synchronous_commit', 'off', true) END`
    : undefined;
  const release = freeing('release-and-notify', ended, lease, ['$4', '$5'], commit);
  // Most keys have nobody in their line: the statement that need not call takes a tenth less.
  const { update: releaseUncalled } = change('release', ended, `${lease} AND t.waiting IS NULL`, commit);
  const keep = durable(
    change(
      'release-later',
      `owner = NULL, expires_ms = ${until('$3')},
     last_label = t.label, last_started_ms = t.started_ms, last_ended_ms = ${MS}, last_outcome = $4`,
      lease,
    ),
  );
  const passing = durable(
    change(
      'pass-on',
      `token = GREATEST(t.token + 1, ${US}),
     last_label = t.label, last_started_ms = t.started_ms, last_ended_ms = ${MS}, last_outcome = $3,
     owner = $4, label = $6, started_ms = ${MS}, renewed_ms = ${MS}, expires_ms = ${until('$5')}`,
      `${lease} AND NOT t.paused`,
    ),
  );
  const releaseToWaiter = `${passing.update} RETURNING t.token`;
  const paused = `SELECT t.paused FROM ${table} AS t WHERE ${lease}`;
  const forceRelease = freeing(
    'force-release',
    `owner = NULL, expires_ms = 0,
     last_label      = CASE WHEN t.owner IS NULL THEN t.last_label      ELSE t.label END,
     last_started_ms = CASE WHEN t.owner IS NULL THEN t.last_started_ms ELSE t.started_ms END,
     last_ended_ms   = CASE WHEN t.owner IS NULL THEN t.last_ended_ms   ELSE ${MS} END,
     last_outcome    = CASE WHEN t.owner IS NULL THEN t.last_outcome    ELSE 'failed' END`,
    `t.key = $1 AND t.expires_ms > ${MS}`,
    ['$2', '$3'],
  );
  // What is lost in a crash is no more than a place in the line: not worth waiting for the disk, and the row is soon unlocked.
  const lazily = `WITH lazily$ AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))`;
  const queue = `
    ${lazily}
    UPDATE ${table} AS t
       SET waiting = CASE WHEN $3::boolean THEN array_prepend($2::varchar, t.waiting) ELSE array_append(t.waiting, $2::varchar) END
      FROM lazily$, (SELECT t.key FROM ${table} AS t
                      WHERE t.key = $1 AND NOT t.paused AND t.expires_ms > ${MS}
                        AND COALESCE($2 <> ALL (t.waiting) AND cardinality(t.waiting) < ${LONGEST_LINE}, true) FOR UPDATE SKIP LOCKED) AS held
     WHERE t.key = held.key`;
  const line = `
    SELECT $2 = ANY (t.waiting) AS queued, cardinality(t.waiting) >= ${LONGEST_LINE} AS is_full FROM ${table} AS t
     WHERE t.key = $1 AND NOT t.paused AND t.expires_ms > ${MS}`;
  const callNext = freeing(
    'notify-next',
    `renewed_ms = t.renewed_ms`,
    `t.key = $1 AND t.expires_ms <= ${MS} AND t.waiting IS NOT NULL`,
    ['$2', '$3'],
  );

  const pause = `
    WITH changed$ AS (
      UPDATE ${table} AS t SET paused = true
       WHERE t.key = (SELECT t.key FROM ${table} AS t WHERE t.key = $1 AND NOT t.paused FOR UPDATE SKIP LOCKED)
         AND ${durably}
      RETURNING t.key
    ), added$ AS (
      INSERT INTO ${table} (key, token, expires_ms, paused)
      SELECT $1, ${US}, COALESCE((${grace('0')}), 0), true WHERE NOT EXISTS (SELECT 1 FROM ${table} WHERE key = $1) AND ${durably}
      ON CONFLICT (key) DO NOTHING
      RETURNING key
    )
    SELECT CASE WHEN EXISTS (SELECT 1 FROM changed$) OR EXISTS (SELECT 1 FROM added$) THEN 'done'
                WHEN EXISTS (SELECT 1 FROM ${table} WHERE key = $1 AND paused) THEN 'gone'
                ELSE 'locked' END AS change`;
  const resume = change('resume', 'paused = false', 't.key = $1 AND t.paused');

  // FOR SHARE and not FOR KEY SHARE, which an update that leaves the key alone does not wait for. The end is judged when the row is locked.
  // A holder that is frozen before its commit must not keep the row for ever: the server ends the session when the lease does.
  const idleLimit = `NULLIF(date_part('epoch', current_setting('${IDLE_LIMIT}')::interval) * 1000, 0)`;
  const guard = `
    WITH mine$ AS (
      SELECT t.expires_ms FROM ${table} AS t
       WHERE t.key = $1 AND t.owner = $2 AND t.token = $3 AND ${EACH_STATEMENT_SEES_COMMITS} FOR SHARE
    ), guarded$ AS (
      SELECT set_config('${IDLE_LIMIT}', LEAST(GREATEST(mine.expires_ms - ${MS}, 1000), 10000, ${idleLimit})::bigint::text, true)
        FROM mine$ AS mine WHERE mine.expires_ms > ${MS}
    )
    SELECT CASE WHEN NOT ${EACH_STATEMENT_SEES_COMMITS} THEN 'snapshot'
                WHEN EXISTS (SELECT 1 FROM guarded$) THEN 'held'
                ELSE 'gone' END AS guarding`;

  const batch = `unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS l (key, owner, ttl, place)`;
  const renewMany = `
    WITH mine$ AS (
      SELECT t.key, l.ttl, l.place FROM ${table} AS t JOIN ${batch} ON t.key = l.key AND t.owner = l.owner
       WHERE t.expires_ms > ${MS} FOR UPDATE OF t SKIP LOCKED
    )
    UPDATE ${table} AS t SET renewed_ms = ${MS}, expires_ms = ${until('mine.ttl')}
      FROM mine$ AS mine WHERE t.key = mine.key AND ${durably}
    RETURNING mine.place`;
  const stillHeld = `
    SELECT l.place FROM ${table} AS t JOIN ${batch} ON t.key = l.key AND t.owner = l.owner WHERE t.expires_ms > ${MS}`;

  const find = `SELECT ${ROW} FROM ${table} AS t WHERE t.key = $1`;
  const list = `
    SELECT ${ROW} FROM ${table} AS t
     WHERE t.key > $1 AND t.key >= $2 AND starts_with(t.key, $2) AND t.expires_ms > ${MS}
     ORDER BY t.key LIMIT $3`;

  // A token that the clock has not passed stays: without its row the next one could be smaller.
  // No joins: expecting a single row, the planner made them loop over the whole table for each key.
  const purge = (limit: number) => `
    WITH slice$ AS (
      SELECT key FROM ${table} WHERE key > $1 AND key >= $2 ORDER BY key LIMIT ${limit}
    ), unused$ AS (
      SELECT t.key FROM ${table} AS t
       WHERE t.key > $1 AND t.key >= $2 AND t.key <= (SELECT max(key) FROM slice$) AND starts_with(t.key, $2)
         AND NOT t.paused AND t.token < ${US}
         AND GREATEST(t.expires_ms, t.renewed_ms, t.last_ended_ms, t.tick_ms) <= ${MS} - $3::bigint
         FOR UPDATE SKIP LOCKED
    ), purged$ AS (
      DELETE FROM ${table} WHERE key = ANY (ARRAY(SELECT key FROM unused$)) RETURNING key
    )
    SELECT (SELECT count(*) FROM purged$) AS purged,
           (SELECT CASE WHEN count(*) = ${limit} THEN max(key) END FROM slice$) AS last`;

  /** What is there but was not changed is locked, or has just changed: asked again, it tells. */
  const changing = async (
    run: Run,
    { name, update, look }: ReturnType<typeof change>,
    id: string[],
    set: unknown[] = [],
  ): Promise<ChangeResult> => {
    if ((await run(update, [...id, ...set], name)).affected > 0) return 'done';
    return (await run(look, id, `${name}-look`)).rows.length > 0 ? 'locked' : 'gone';
  };

  const freed = async (
    run: Run,
    { name, update, look }: ReturnType<typeof freeing>,
    id: string[],
    set: unknown[] = [],
  ): Promise<ReleaseResult> => {
    const [row] = await rowsOf<{ called: unknown }>(run, update, [...id, ...set], name);
    if (row) return row.called === null ? 'done' : 'notified';
    return (await run(look, id, `${name}-look`)).rows.length > 0 ? 'locked' : 'gone';
  };

  return {
    clock: MS,
    async acquire(run, attempt) {
      const { key, owner, ttl, label, tick, ahead, slot, gap, failOver, ignored, stealAfter } = attempt;
      const values = [key, owner, ttl, label];
      const { first, again, add } = isPlain(attempt) ? plain : onTerms;
      const when = isPlain(attempt) ? [] : [tick, ahead, slot, gap];
      const asked = isPlain(attempt) ? values : [...values, ...when, failOver, ignored, stealAfter];
      const { sql, name } = attempt.resend ? again : first;
      const [row] = await rowsOf<Acquisition>(run, sql, asked, name);
      if (row && row.won !== null) return { acquired: true, fencingToken: Number(row.won) };
      const refuser = row && (JSON.parse(row.refuser) as HolderRow | NoRow);
      const refusal = refuser && refusalOf(refuser, attempt);
      if (refusal || refuser?.key !== null) return refusal ?? CONTENTION; // it has been free for a moment
      const [added] = await rowsOf<{ won: unknown }>(
        run,
        add.sql,
        [...values, ...when, attempt.longest],
        add.name,
      );
      if (added) return { acquired: true, fencingToken: Number(added.won) };
      const [reserved] = await rowsOf<LockRow>(run, find, [RESERVED_KEY], 'inspect');
      return refusalInGrace(reserved, attempt) ?? CONTENTION;
    },
    renew: (run, { key, owner, ttl }) => changing(run, renew, [key, owner], [ttl]),
    async release(run, { key, owner, keepFor, outcome, caller }) {
      if (keepFor > 0) return changing(run, keep, [key, owner], [keepFor, outcome]);
      if (!caller?.again && !caller?.contended)
        if ((await run(releaseUncalled, [key, owner, outcome], 'release')).affected > 0) return 'done';
      return freed(run, release, [key, owner], [outcome, caller?.channel ?? NOBODY, caller?.again ?? false]);
    },
    async releaseToWaiter(run, { key, owner, outcome, nextOwner, ttl, label }) {
      const values = [key, owner, outcome, nextOwner, ttl, label];
      const [passed] = await rowsOf<{ token: unknown }>(run, releaseToWaiter, values, passing.name);
      if (passed) return { acquired: true, fencingToken: Number(passed.token) };
      return unpassed((await rowsOf<{ paused: unknown }>(run, paused, [key, owner], 'pass-on-look'))[0]);
    },
    forceRelease: (run, key, caller) =>
      freed(run, forceRelease, [key], [caller?.channel ?? NOBODY, caller?.again ?? false]),
    async queue(run, key, channel, first) {
      if ((await run(queue, [key, channel, first], 'wait')).affected > 0) return true;
      const [found] = await rowsOf<{ queued: boolean | null; is_full: boolean | null }>(
        run,
        line,
        [key, channel],
        'wait-look',
      );
      return found?.queued === true || (found?.is_full === true && 'full');
    },
    async callNext(run, key, { channel, again }) {
      await run(callNext.update, [key, channel, again], callNext.name);
    },
    pause: async (run, key) =>
      (await rowsOf<{ change: ChangeResult }>(run, pause, [key], 'pause'))[0]?.change ?? 'locked',
    resume: (run, key) => changing(run, resume, [key]),
    guard: async (run, { key, owner, token }) =>
      (await rowsOf<{ guarding: GuardResult }>(run, guard, [key, owner, token], 'guard'))[0]?.guarding ??
      'gone',
    async renewMany(run, leases) {
      const columns = [leases.map((l) => l.key), leases.map((l) => l.owner), leases.map((l) => l.ttl)];
      const outcomes = leases.map((): RenewalOutcome => 'lost'); // unless an answer names it
      const places = async (sql: string, name: string) =>
        (await rowsOf<{ place: unknown }>(run, sql, columns, name)).map(({ place }) => Number(place) - 1);
      const renewed = await places(renewMany, 'renew-many');
      // Who is still there but was not renewed is locked, or has just changed.
      if (renewed.length < leases.length)
        for (const place of await places(stillHeld, 'renew-many-look')) outcomes[place] = 'unknown';
      for (const place of renewed) outcomes[place] = 'renewed';
      return outcomes;
    },
    readClock: async (run) => Number((await run(`SELECT ${MS} AS now_ms`)).rows[0]?.now_ms),
    find: async (run, key) => (await rowsOf<LockRow>(run, find, [key], 'inspect'))[0],
    list: (run, { after, prefix, limit }) => rowsOf<LockRow>(run, list, [after, prefix, limit], 'list'),
    async purge(run, { after, prefix, limit, olderThan }) {
      const [row] = (await run(purge(limit), [after, prefix, olderThan], 'purge')).rows;
      return { purged: Number(row?.purged), last: (row?.last ?? undefined) as string | undefined };
    },
  };
}

/** What an acquisition answers: the token, or as JSON what it met. */
interface Acquisition {
  won: unknown;
  refuser: string;
}

/** @param name the name of the statement, which sessions and traces show */
async function rowsOf<Row>(run: Run, sql: string, values: readonly unknown[], name: string): Promise<Row[]> {
  return (await run(sql, values, name)).rows as Row[];
}
