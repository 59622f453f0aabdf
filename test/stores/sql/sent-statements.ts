import type { SqlAcquireRequest, LockStatements, Run } from '../../../lib/stores/sql/lock-statements.js';

const PLAIN: SqlAcquireRequest = {
  key: 'key',
  owner: 'owner',
  ttl: 10_000,
  label: 'label',
  resend: false,
  longest: 20_000,
  ignored: null,
  stealAfter: null,
  tick: null,
  ahead: null,
  slot: null,
  gap: null,
  failOver: null,
};
const ON_CONDITIONS: SqlAcquireRequest = { ...PLAIN, stealAfter: 5_000, tick: 1_000, ahead: 60_000 };
const LEASE = { key: 'key', owner: 'owner', ttl: 10_000 };

/** Each operation, with what reaches its statements. */
const OPERATIONS: Record<string, (dialect: LockStatements, run: Run) => Promise<unknown> | undefined> = {
  acquire: (dialect, run) => dialect.acquire(run, PLAIN),
  'acquire-again': (dialect, run) => dialect.acquire(run, { ...PLAIN, resend: true }),
  'acquire-on-conditions': (dialect, run) => dialect.acquire(run, ON_CONDITIONS),
  'acquire-on-conditions-again': (dialect, run) => dialect.acquire(run, { ...ON_CONDITIONS, resend: true }),
  renew: (dialect, run) => dialect.renew(run, LEASE),
  'renew-many': (dialect, run) => dialect.renewMany?.(run, [LEASE, { ...LEASE, key: 'other' }]),
  release: (dialect, run) => dialect.release(run, { ...LEASE, keepFor: 0, outcome: 'done' }),
  'release-later': (dialect, run) => dialect.release(run, { ...LEASE, keepFor: 1_000, outcome: 'done' }),
  'release-to-waiter': (dialect, run) =>
    dialect.releaseToWaiter(run, { ...LEASE, nextOwner: 'next', label: 'label', outcome: 'done' }),
  'force-release': (dialect, run) => dialect.forceRelease(run, 'key'),
  pause: (dialect, run) => dialect.pause(run, 'key'),
  resume: (dialect, run) => dialect.resume(run, 'key'),
  guard: (dialect, run) => dialect.guard(run, { key: 'key', owner: 'owner', token: 7 }),
  'read-clock': (dialect, run) => dialect.readClock(run),
  inspect: (dialect, run) => dialect.find(run, 'key'),
  list: (dialect, run) => dialect.list(run, { prefix: 'prefix', after: 'after', limit: 100 }),
  purge: (dialect, run) => dialect.purge(run, { prefix: 'prefix', after: 'after', olderThan: 60_000 }),
};

/** The statements that a dialect sends when no row is found and no row is changed, each once. */
export async function sentStatements(dialect: LockStatements): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const [operation, work] of Object.entries(OPERATIONS)) {
    let count = 0;
    const run: Run = async (sql) => {
      if (![...found.values()].includes(sql)) found.set(`${operation} ${++count}`, sql);
      return { rows: rowsFor(sql), columns: [], affected: 0, insertId: 0 };
    };
    await work(dialect, run);
  }
  return found;
}

/** The rows that lead on to the next statement of an operation. */
function rowsFor(sql: string): Record<string, unknown>[] {
  const noRow = { key: null, paused: null, tick_ms: null };
  if (sql.includes('AS refuser')) return [{ won: null, refuser: JSON.stringify(noRow) }];
  if (sql.includes('AS unused')) return [{ key: 'key', unused: 1, clock_runs: 1 }];
  if (sql.includes('LOCK IN SHARE MODE')) return [{}];
  if (sql.includes('AS grace_')) return [{ ...noRow, grace_started_ms: null }];
  return sql.includes('AS clock_runs') ? [{ ...noRow, clock_runs: 1 }] : [];
}
