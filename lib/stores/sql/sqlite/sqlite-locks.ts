import type {
  LeaseRenewal,
  LockAcquireResult,
  RenewalOutcome,
} from '../../../interfaces/lock-store.interface.js';
import { CONTENTION } from '../../shared/conditions.js';
import type { Release, ReleaseToWaiter } from '../../shared/requests.js';
import { granted, refusedRelease, type LockRow, type RowRefusal } from '../lock-row.js';
import {
  PURGE_SLICE,
  type Answer,
  type ChangeResult,
  type GuardRequest,
  type GuardResult,
  type LockStatements,
  type PageRequest,
  type PurgedSlice,
  type PurgeSlice,
  type Run,
  type SqlAcquireRequest,
} from '../lock-statements.js';
import { refusalByLook, SqliteBatches, type Look } from './sqlite-batches.js';
import { gracePeriod, sqliteStatements, type SqliteStatements } from './sqlite-statements.js';

/**
 * Keeps locks in a table of SQLite. If another connection is writing, a statement fails with
 * BUSY, and the store's connection repeats the statement.
 */
export class SqliteLocks implements LockStatements {
  readonly gracePeriod = gracePeriod;
  readonly batches: SqliteBatches;
  private readonly statements: SqliteStatements;

  constructor(table: string) {
    this.statements = sqliteStatements(table);
    this.batches = new SqliteBatches(this.statements);
  }

  async acquire(run: Run, request: SqlAcquireRequest): Promise<LockAcquireResult | RowRefusal> {
    const refusal = await this.refusal(run, request);
    if (refusal) return refusal;
    const statement = request.resend ? 'acquire-again' : 'acquire';
    const [row] = (await this.send(run, statement, request)).rows;
    if (row) return granted(row.token);
    return (await this.refusal(run, { ...request, resend: false })) ?? CONTENTION;
  }

  async renew(run: Run, lease: LeaseRenewal): Promise<ChangeResult> {
    return this.change(run, 'renew', lease);
  }

  async renewMany(run: Run, leases: readonly LeaseRenewal[]): Promise<RenewalOutcome[]> {
    const values = { leases: JSON.stringify(leases.map(({ key, owner, ttl }) => [key, owner, ttl])) };
    const renewed = new Set((await this.send(run, 'renew-many', values)).rows.map(identityOf));
    return leases.map((lease) => (renewed.has(identityOf(lease)) ? 'renewed' : 'lost'));
  }

  async release(run: Run, request: Release): Promise<ChangeResult> {
    return this.change(run, 'release', request);
  }

  async releaseToWaiter(run: Run, request: ReleaseToWaiter): Promise<LockAcquireResult> {
    const [row] = (await this.send(run, 'release-to-waiter', request)).rows;
    if (row) return granted(row.token);
    const [lease] = (await this.send(run, 'lease-look', request)).rows;
    return refusedRelease(lease as { paused: unknown } | undefined);
  }

  async forceRelease(run: Run, key: string): Promise<ChangeResult> {
    return this.change(run, 'force-release', { key });
  }

  async pause(run: Run, key: string): Promise<ChangeResult> {
    return this.change(run, 'pause', { key });
  }

  async resume(run: Run, key: string): Promise<ChangeResult> {
    return this.change(run, 'resume', { key });
  }

  async guard(run: Run, request: GuardRequest): Promise<GuardResult> {
    return (await this.change(run, 'guard', request)) === 'done' ? 'held' : 'gone';
  }

  async readClock(run: Run): Promise<number> {
    return Number((await run(this.statements['read-clock'])).rows[0]?.now_ms);
  }

  async find(run: Run, key: string): Promise<LockRow | undefined> {
    return (await this.send(run, 'inspect', { key })).rows[0] as LockRow | undefined;
  }

  async list(run: Run, page: PageRequest): Promise<LockRow[]> {
    return (await this.send(run, 'list', page)).rows as unknown as LockRow[];
  }

  async purge(run: Run, slice: PurgeSlice): Promise<PurgedSlice> {
    const { rows } = await this.send(run, 'purge-look', slice);
    const unused = rows.filter((row) => row.unused === 1).map((row) => row.key);
    const last = rows.length === PURGE_SLICE ? String(rows.at(-1)?.key) : undefined;
    if (unused.length === 0) return { purged: 0, last };
    const values = { keys: JSON.stringify(unused), olderThan: slice.olderThan };
    return { purged: (await this.send(run, 'purge', values)).affected, last };
  }

  /**
   * Reads whether an attempt is refused, since a read never waits. Only the grace period
   * refuses a repeated attempt, since the row of the key may show the attempt's own lock.
   */
  private async refusal(run: Run, request: SqlAcquireRequest): Promise<RowRefusal | undefined> {
    const [row] = (await this.send(run, 'acquire-look', request)).rows as unknown as Look[];
    return row && refusalByLook(row, request);
  }

  private async change(run: Run, statement: keyof SqliteStatements, values: object): Promise<ChangeResult> {
    return (await this.send(run, statement, values)).affected > 0 ? 'done' : 'gone';
  }

  private async send(run: Run, statement: keyof SqliteStatements, values: object): Promise<Answer> {
    return run(this.statements[statement], [values]);
  }
}

function identityOf({ key, owner }: { key?: unknown; owner?: unknown }): string {
  return JSON.stringify([key, owner]);
}
