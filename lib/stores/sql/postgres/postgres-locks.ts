import type {
  LeaseRenewal,
  LockAcquireResult,
  RenewalOutcome,
} from '../../../interfaces/lock-store.interface.js';
import type { Release, ReleaseToWaiter } from '../../shared/requests.js';
import { CONTENTION, isPlain } from '../../shared/conditions.js';
import { refusalInGrace, RESERVED_KEY } from '../grace-period.js';
import {
  granted,
  refusalOf,
  refusedRelease,
  type HolderRow,
  type LockRow,
  type NoRow,
  type RowRefusal,
} from '../lock-row.js';
import type {
  Answer,
  BatchStatements,
  ChangeResult,
  GuardRequest,
  GuardResult,
  LockStatements,
  PageRequest,
  PurgedSlice,
  PurgeSlice,
  ReleaseResult,
  Run,
  SqlAcquireRequest,
} from '../lock-statements.js';
import { PostgresBatches } from './postgres-batches.js';
import { gracePeriod, type PostgresStatements } from './postgres-statements.js';

type StatementName = keyof PostgresStatements;

/** The process that sends a release, as its statement needs it. */
export interface ReleasingProcess {
  /**
   * The channel on which the process is notified. The release removes the process from its old
   * place in the queue.
   */
  channel: string;
  /**
   * Whether the process goes to the end of the queue if the release notifies another process.
   */
  requeue?: boolean;
  /** Whether other processes are probably queued for the key. */
  contended?: boolean;
}

/** The process of a waiter, as its attempt needs it. */
export interface QueueingProcess {
  /** The channel on which the waiter's process is notified. */
  channel: string;
  /**
   * Whether the process goes to the head of the queue, since it was notified but another
   * process was faster.
   */
  first: boolean;
}

/** Releases for a process that never queues, and so has no channel. */
const WITHOUT_CHANNEL = { channel: '' };

/**
 * Keeps locks in a table of PostgreSQL. Most operations take one round trip. A key without a
 * row needs a second round trip, and so does a change that changed nothing. A release needs it
 * if this process does not know of the key's queue.
 */
export class PostgresLocks implements LockStatements {
  readonly gracePeriod = gracePeriod;
  readonly batches: BatchStatements;

  constructor(private readonly statements: PostgresStatements) {
    this.batches = new PostgresBatches((run, name, values) => this.send(run, name, values));
  }

  async acquire(run: Run, request: SqlAcquireRequest): Promise<LockAcquireResult | RowRefusal> {
    const { key, owner, ttl, label, tick, ahead, slot, gap, failOver, ignored, stealAfter } = request;
    const lease = [key, owner, ttl, label];
    const conditions = [tick, ahead, slot, gap, failOver, ignored, stealAfter];
    const name = isPlain(request) ? 'acquire' : 'acquire-on-conditions';
    const attempt = request.resend
      ? this.send(run, 'acquire-again', [...lease, ...conditions])
      : this.send(run, name, name === 'acquire' ? lease : [...lease, ...conditions]);
    const [row] = (await attempt).rows;
    return this.resultOf(run, request, row, name);
  }

  /**
   * Makes an attempt without conditions for a waiter. If another process holds the key, the
   * same statement puts this process into the queue.
   */
  async acquireOrQueue(
    run: Run,
    request: SqlAcquireRequest,
    { channel, first }: QueueingProcess,
  ): Promise<LockAcquireResult | RowRefusal> {
    const { key, owner, ttl, label } = request;
    const values = [key, owner, ttl, label, channel, first];
    const [row] = (await this.send(run, 'acquire-or-queue', values)).rows;
    const result = await this.resultOf(run, request, row, 'acquire');
    return !result.acquired && result.reason === 'held' && row?.queued ? { ...result, queued: true } : result;
  }

  async renew(run: Run, { key, owner, ttl }: LeaseRenewal): Promise<ChangeResult> {
    return changeOf(await this.change(run, 'renew', 'lease-look', [key, owner], [ttl]));
  }

  async renewMany(run: Run, leases: readonly LeaseRenewal[]): Promise<RenewalOutcome[]> {
    const columns = [leases.map((l) => l.key), leases.map((l) => l.owner), leases.map((l) => l.ttl)];
    // A lease is lost unless its row is found below.
    const outcomes = leases.map((): RenewalOutcome => 'lost');
    const { rows: renewed } = await this.send(run, 'renew-many', columns);
    // If a lease still exists although it was not renewed, its row is locked or has just
    // changed.
    const { rows: held } =
      renewed.length < leases.length ? await this.send(run, 'renew-many-look', columns) : { rows: [] };
    for (const { place } of held) outcomes[Number(place) - 1] = 'unknown';
    for (const { place } of renewed) outcomes[Number(place) - 1] = 'renewed';
    return outcomes;
  }

  async release(run: Run, request: Release): Promise<ChangeResult> {
    return changeOf(await this.releaseAndNotify(run, request, WITHOUT_CHANNEL));
  }

  /** Releases a key, and notifies the first process in its queue. */
  async releaseAndNotify(
    run: Run,
    { key, owner, keepFor, outcome }: Release,
    { channel, requeue = false, contended = false }: ReleasingProcess,
  ): Promise<ReleaseResult> {
    const lease = [key, owner];
    if (keepFor > 0) return this.change(run, 'release-later', 'lease-look', lease, [keepFor, outcome]);
    if (!requeue && !contended && (await this.send(run, 'release', [...lease, outcome])).affected > 0)
      return 'done';
    return this.change(run, 'release-and-notify', 'lease-look', lease, [outcome, channel, requeue]);
  }

  async releaseToWaiter(
    run: Run,
    { key, owner, outcome, nextOwner, ttl, label }: ReleaseToWaiter,
  ): Promise<LockAcquireResult> {
    const values = [key, owner, outcome, nextOwner, ttl, label];
    const [row] = (await this.send(run, 'release-to-waiter', values)).rows;
    if (row) return granted(row.token);
    const [lease] = (await this.send(run, 'lease-look', [key, owner])).rows;
    return refusedRelease(lease as { paused: unknown } | undefined);
  }

  async forceRelease(run: Run, key: string): Promise<ChangeResult> {
    return changeOf(await this.forceReleaseAndNotify(run, key, WITHOUT_CHANNEL.channel));
  }

  async forceReleaseAndNotify(run: Run, key: string, channel: string): Promise<ReleaseResult> {
    return this.change(run, 'force-release', 'force-release-look', [key], [channel]);
  }

  /**
   * Puts a process into the queue of a held key; if the process is already queued, nothing is
   * written. Resolves to `false` if the key is free or its row is locked, and to `full` if the
   * queue is too long.
   */
  async queue(run: Run, key: string, channel: string, first: boolean): Promise<boolean | 'full'> {
    if ((await this.send(run, 'wait', [key, channel, first])).affected > 0) return true;
    const [found] = (await this.send(run, 'wait-look', [key, channel])).rows;
    return found?.queued === true || (found?.is_full === true && 'full');
  }

  /**
   * Notifies the next process in the queue that the key is free, since the process with this
   * channel does not want the key.
   */
  async notifyNext(run: Run, key: string, channel: string): Promise<void> {
    await this.send(run, 'notify-next', [key, channel]);
  }

  async pause(run: Run, key: string): Promise<ChangeResult> {
    const [row] = (await this.send(run, 'pause', [key])).rows;
    return (row?.change as ChangeResult | undefined) ?? 'locked';
  }

  async resume(run: Run, key: string): Promise<ChangeResult> {
    return changeOf(await this.change(run, 'resume', 'resume-look', [key]));
  }

  async guard(run: Run, { key, owner, token }: GuardRequest): Promise<GuardResult> {
    const [row] = (await this.send(run, 'guard', [key, owner, token])).rows;
    return (row?.guarded as GuardResult | undefined) ?? 'gone';
  }

  async readClock(run: Run): Promise<number> {
    return Number((await run(this.statements['read-clock'])).rows[0]?.now_ms);
  }

  async find(run: Run, key: string): Promise<LockRow | undefined> {
    return (await this.send(run, 'inspect', [key])).rows[0] as LockRow | undefined;
  }

  async list(run: Run, { after, prefix, limit }: PageRequest): Promise<LockRow[]> {
    return (await this.send(run, 'list', [after, prefix, limit])).rows as unknown as LockRow[];
  }

  async purge(run: Run, { after, prefix, olderThan }: PurgeSlice): Promise<PurgedSlice> {
    const [row] = (await this.send(run, 'purge', [after, prefix, olderThan])).rows;
    return { purged: Number(row?.purged), last: (row?.last ?? undefined) as string | undefined };
  }

  /**
   * Returns the result of an attempt. If the key had no row, sends another statement that
   * inserts the row.
   */
  private async resultOf(
    run: Run,
    request: SqlAcquireRequest,
    row: Answer['rows'][number] | undefined,
    name: 'acquire' | 'acquire-on-conditions',
  ): Promise<LockAcquireResult | RowRefusal> {
    if (row && row.won !== null) return granted(row.won);
    const refuser = row && (JSON.parse(String(row.refuser)) as HolderRow | NoRow);
    const refusal = refuser && refusalOf(refuser, request);
    // If the row refuses nothing, the key became free between two snapshots of the statement.
    if (refusal || refuser?.key !== null) return refusal ?? CONTENTION;
    const { key, owner, ttl, label, tick, ahead, slot, gap, longest } = request;
    const once = name === 'acquire' ? [] : [tick, ahead, slot, gap];
    const values = [key, owner, ttl, label, ...once, longest];
    const [added] = (await this.send(run, `${name}-new`, values)).rows;
    if (added) return granted(added.won);
    return refusalInGrace(await this.find(run, RESERVED_KEY), request) ?? CONTENTION;
  }

  private async change(
    run: Run,
    name: StatementName,
    look: StatementName,
    found: unknown[],
    values: unknown[] = [],
  ): Promise<ReleaseResult> {
    const { affected, rows } = await this.send(run, name, [...found, ...values]);
    if (affected > 0) return rows[0]?.notified ? 'notified' : 'done';
    return (await this.send(run, look, found)).rows.length > 0 ? 'locked' : 'gone';
  }

  private send(run: Run, name: StatementName, values: readonly unknown[]): Promise<Answer> {
    return run(this.statements[name], values, name);
  }
}

function changeOf(result: ReleaseResult): ChangeResult {
  return result === 'notified' ? 'done' : result;
}
