import { randomBytes } from 'node:crypto';
import type { LockAcquireResult, Refusal } from '../../../interfaces/lock-store.interface.js';
import { CONTENTION, isPlain } from '../../shared/conditions.js';
import type { Release } from '../../shared/requests.js';
import { inTime, OPERATION_LIMIT } from '../../shared/operation-limit.js';
import { GRACE_LABEL } from '../grace-period.js';
import type { RowRefusal } from '../lock-row.js';
import type {
  OnReleased,
  ProcessWakeUps,
  ReleaseResult,
  Run,
  SqlAcquireRequest,
  SqlConnections,
} from '../lock-statements.js';
import type { Warn } from '../sql-executor.js';
import { HIGHEST_RATE, NotificationRate } from './notification-rate.js';
import type { PostgresLink } from './postgres-link.js';
import type { PostgresLocks } from './postgres-locks.js';

/** Milliseconds within which a process that was notified of a key polls it, if at all. */
const SOON = 5_000;

/** A notification of a key. */
interface Notification {
  /** On the monotonic clock. */
  since: number;
  /** Whether this process has polled the key since. */
  polled: boolean;
}

/**
 * Lets this process wait for keys that other processes hold. It queues in the row of the key,
 * and the process that releases the key notifies the first of the queue with NOTIFY.
 *
 * A process that was notified has no right to the key: another one may be faster. Then it
 * queues again, at the head. If no waiter of this process wants the key, it notifies the next
 * process. A missed notification costs latency, never correctness.
 */
export class PostgresWakeUps implements ProcessWakeUps {
  readonly #listener: PostgresListener;
  /**
   * The keys of which this process was notified, until it has released them, or some seconds
   * later.
   */
  readonly #notifications = new Map<string, Notification>();
  readonly #rate = new NotificationRate();
  #closed = false;

  constructor(
    private readonly locks: PostgresLocks,
    private readonly connections: SqlConnections,
    connect: (abandoned: AbortSignal) => Promise<PostgresLink>,
    private readonly onReleased: OnReleased,
    private readonly warn: Warn,
  ) {
    this.#listener = new PostgresListener(connect, (key) => this.#notified(key));
  }

  polls(key: string): boolean {
    const notification = this.#notifications.get(key);
    const first = notification?.polled === false;
    if (notification) notification.polled = true;
    return first;
  }

  /**
   * Whether this process polled the key after a notification: other processes were then queued
   * behind it.
   */
  isContended(key: string): boolean {
    return this.#notifications.get(key)?.polled === true;
  }

  canQueue(): boolean {
    if (!this.#listener.listens()) return false;
    if (!this.#rate.isTooHigh) return true;
    this.warn(
      'notifications',
      `This process was notified of released keys more than ${HIGHEST_RATE} times a second. Its waiters poll until the rate falls, since each NOTIFY holds up those of other sessions, also of triggers. Take contended keys less often, or set wakeUps: false.`,
    );
    return false;
  }

  acquire(run: Run, request: SqlAcquireRequest, first: boolean): Promise<LockAcquireResult | RowRefusal> {
    // Most attempts get the key: only a refused attempt begins to connect, see `queue`.
    const queues = isPlain(request) && !request.resend && this.#listener.isOpen && this.canQueue();
    const { channel } = this.#listener;
    return queues
      ? this.locks.acquireOrQueue(run, request, { channel, first })
      : this.locks.acquire(run, request);
  }

  async queue(run: Run, key: string, refusal: Refusal, first: boolean): Promise<Refusal> {
    // During a grace period there is no row in which to queue.
    if (!this.canQueue() || refusal.holder?.label === GRACE_LABEL) return refusal;
    const queued = await this.locks.queue(run, key, this.#listener.channel, first);
    if (queued === 'full') return refusal;
    return queued ? { ...refusal, queued: true } : CONTENTION; // the holder has just changed
  }

  async release(run: Run, request: Release, waiting: boolean): Promise<ReleaseResult> {
    const requeue = waiting && this.canQueue();
    const result = await this.locks.releaseAndNotify(run, request, {
      channel: this.#listener.channel,
      requeue,
      contended: this.isContended(request.key),
    });
    return result === 'notified' && !requeue ? 'done' : result;
  }

  async forceRelease(run: Run, key: string): Promise<ReleaseResult> {
    const result = await this.locks.forceReleaseAndNotify(run, key, this.#listener.channel);
    return result === 'notified' ? 'done' : result;
  }

  released(key: string, waiting: boolean, result: ReleaseResult): void {
    if (result !== 'gone' && this.isContended(key)) this.#notifications.delete(key);
    // `gone` may be the result of a repetition, whose first answer was lost, and with it
    // whether another process was notified.
    if (result !== 'notified') this.onReleased(key, !(waiting && this.canQueue()));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#listener.close();
  }

  /** @param key without it, notifications may have been missed */
  #notified(key?: string): void {
    if (key !== undefined) this.#rate.received();
    const now = performance.now();
    for (const [old, { since }] of this.#notifications)
      if (now - since > SOON) this.#notifications.delete(old);
    if (key !== undefined) this.#notifications.set(key, { since: now, polled: false });
    if (this.onReleased(key) || key === undefined) return;
    this.#notifications.delete(key);
    if (this.#closed) return;
    this.connections
      .use(OPERATION_LIMIT, (run) => this.locks.notifyNext(run, key, this.#listener.channel))
      .catch(() => undefined); // the other processes poll a little later
  }
}

const SHORTEST_PAUSE = 1_000;
const LONGEST_PAUSE = 60_000;
const QUIT_LIMIT = 1_000;
/**
 * Milliseconds between two checks, while waiters rely on the connection, that its server is
 * still the writer.
 */
const CHECK_EVERY = 5_000;

/**
 * Listens on the channel of this process, on a connection of its own that is made when a call
 * first waits.
 *
 * Without a connection the waiters poll. They also poll behind a pooler, which has no sessions
 * to listen in.
 */
export class PostgresListener {
  /**
   * The channel of this process alone. It is short because the rows of the keys for which the
   * process waits contain it.
   */
  readonly channel = `nl${randomBytes(6).toString('base64url')}`;
  #link: PostgresLink | undefined;
  #opening: Promise<void> | undefined;
  #abandoned = new AbortController();
  #pause = SHORTEST_PAUSE;
  #notBefore = 0;
  #checkAt = 0;
  #closed = false;

  /**
   * @param notified gets the key; nothing when the connection has ended, and notifications may
   * have been missed
   */
  constructor(
    private readonly connect: (abandoned: AbortSignal) => Promise<PostgresLink>,
    private readonly notified: (key?: string) => void,
  ) {}

  /** Whether it is connected already. Unlike `listens`, it never begins to connect. */
  get isOpen(): boolean {
    return this.#link !== undefined;
  }

  /** Whether notifications arrive. If not, it begins to connect. */
  listens(): boolean {
    if (this.#link) {
      if (performance.now() >= this.#checkAt) void this.#check(this.#link);
      return true;
    }
    if (!this.#closed && performance.now() >= this.#notBefore)
      this.#opening ??= this.#open().finally(() => (this.#opening = undefined));
    return false;
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#opening) this.#abandoned.abort(); // the server may never answer
    await this.#opening;
    const link = this.#link;
    this.#link = undefined;
    if (link) await leave(link);
  }

  async #open(): Promise<void> {
    const { signal } = (this.#abandoned = new AbortController());
    let link: PostgresLink | undefined;
    try {
      link = await this.connect(signal);
      signal.addEventListener('abort', () => link?.destroy());
      // Checked before LISTEN: a session of a pooler, which another client gets next, must
      // stay as it is.
      const { pid, writer } = await inTime(serverOf(link));
      if (pid !== link.pid) this.#closed = true; // a pooler, and later tries would meet it too
      if (this.#closed) return await leave(link);
      if (!writer) throw new Error('The server takes no writes');
      await inTime(link.send(`LISTEN "${this.channel}"`));
      this.#begin(link);
    } catch {
      // The waiters poll until the next try.
      link?.destroy();
      this.#notBefore = performance.now() + this.#pause;
      this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    }
  }

  /**
   * Closes the connection if its server was demoted. Such a server may keep its connections,
   * but releases notify on the new writer, where the next connection leads.
   */
  async #check(link: PostgresLink): Promise<void> {
    this.#checkAt = performance.now() + CHECK_EVERY;
    const server = await inTime(serverOf(link, this.channel)).catch(() => undefined);
    if (!server?.writer) link.destroy(); // without an answer, the connection is dead
  }

  #begin(link: PostgresLink): void {
    link.unref(); // each waiter has a timer that keeps the process alive
    link.onNotification((key) => this.notified(key));
    this.#link = link;
    this.#checkAt = performance.now() + CHECK_EVERY;
    this.#pause = SHORTEST_PAUSE;
    link.onEnd(() => {
      if (this.#link !== link) return;
      this.#link = undefined;
      this.notified();
    });
  }
}

/**
 * The process of the server for this connection, and whether the server takes writes.
 *
 * @param channel where the connection listens: pg_stat_activity shows it in the last statement
 */
async function serverOf(link: PostgresLink, channel?: string): Promise<{ pid: number; writer: boolean }> {
  const listens = channel === undefined ? '' : ` /* after LISTEN "${channel}" */`;
  const { rows } = await link.send(
    `SELECT pg_backend_pid() AS pid, current_setting('transaction_read_only') AS read_only${listens}`,
  );
  return { pid: Number(rows[0]?.pid), writer: rows[0]?.read_only !== 'on' };
}

/** Ends the connection in good order, or destroys it if it is dead. */
async function leave(link: PostgresLink): Promise<void> {
  await inTime(link.quit(), QUIT_LIMIT).catch(() => link.destroy());
}
