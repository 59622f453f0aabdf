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

/**
 * How many milliseconds a process remembers a notification. A process whose waiters want the
 * key polls it much sooner.
 */
const SOON = 5_000;

/** A notification that a key was released. */
interface Notification {
  /** When the notification arrived, on the monotonic clock. */
  since: number;
  /** Whether this process has polled the key since the notification arrived. */
  polled: boolean;
}

/**
 * Lets this process wait for keys that other processes hold. The process puts itself into the
 * queue in the row of the key. When another process releases the key, it notifies the first
 * process in the queue with NOTIFY.
 *
 * A notification gives no right to the key. If another process is faster, the notified process
 * puts itself at the head of the queue again. If none of its waiters wants the key, it
 * notifies the next process in the queue. A missed notification costs latency, never
 * correctness.
 */
export class PostgresWakeUps implements ProcessWakeUps {
  readonly #listener: PostgresListener;
  /**
   * The latest notification of each key. It is forgotten when this process has released the
   * key, or after some seconds.
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
   * Whether this process has polled the key since its last notification. If so, other
   * processes are probably queued behind this process.
   */
  isContended(key: string): boolean {
    return this.#notifications.get(key)?.polled === true;
  }

  canQueue(): boolean {
    if (!this.#listener.listens()) return false;
    if (!this.#rate.isTooHigh) return true;
    this.warn(
      'notifications',
      `This process was notified of released keys more than ${HIGHEST_RATE} times a second. Its waiters poll until the rate falls, since each NOTIFY delays those of other sessions, such as in triggers. Acquire contended keys less often, or set wakeUps: false.`,
    );
    return false;
  }

  acquire(run: Run, request: SqlAcquireRequest, first: boolean): Promise<LockAcquireResult | RowRefusal> {
    // This does not open the connection for notifications, since most attempts get the key.
    // Only a refused attempt opens it, see queue().
    const queues = isPlain(request) && !request.resend && this.#listener.isOpen && this.canQueue();
    const { channel } = this.#listener;
    return queues
      ? this.locks.acquireOrQueue(run, request, { channel, first })
      : this.locks.acquire(run, request);
  }

  async queue(run: Run, key: string, refusal: Refusal, first: boolean): Promise<Refusal> {
    // In the grace period, a key has no row in which this process could queue.
    if (!this.canQueue() || refusal.holder?.label === GRACE_LABEL) return refusal;
    const queued = await this.locks.queue(run, key, this.#listener.channel, first);
    if (queued === 'full') return refusal;
    // If the process could not queue, the key was just released, or its row is locked.
    return queued ? { ...refusal, queued: true } : CONTENTION;
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
    // After `gone`, waiters poll as if no other process had been notified: an earlier try may
    // have released the key, and its lost answer would have said whether it notified one.
    if (result !== 'notified') this.onReleased(key, !(waiting && this.canQueue()));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#listener.close();
  }

  /**
   * Handles a notification.
   *
   * @param key the released key; missing if notifications may have been lost
   */
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
      .catch(() => undefined); // the next processes in the queue also poll, a little later
  }
}

const SHORTEST_PAUSE = 1_000;
const LONGEST_PAUSE = 60_000;
const QUIT_LIMIT = 1_000;
/**
 * Milliseconds between two checks that the connection still leads to the writer, while waiters
 * rely on it.
 */
const CHECK_EVERY = 5_000;

/**
 * Listens on the channel of this process, on a separate connection, which it opens when a call
 * waits for the first time.
 *
 * Without the connection, waiters poll. They also poll behind a pooler, since a client cannot
 * listen in sessions that it shares.
 */
export class PostgresListener {
  /**
   * The channel on which only this process listens. Its name is short, since it is written
   * into the row of each key for which this process waits.
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
   * @param notified receives the released key; receives no key after the connection has ended,
   * since notifications may have been lost meanwhile
   */
  constructor(
    private readonly connect: (abandoned: AbortSignal) => Promise<PostgresLink>,
    private readonly notified: (key?: string) => void,
  ) {}

  /**
   * Whether the connection is open. Unlike `listens()`, this property never opens the
   * connection.
   */
  get isOpen(): boolean {
    return this.#link !== undefined;
  }

  /**
   * Whether the connection is open, so that notifications arrive. If it is not open, this
   * method begins to open it.
   */
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
    // Ends the opening, since the server may never answer.
    if (this.#opening) this.#abandoned.abort();
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
      // The check comes before LISTEN: behind a pooler, LISTEN would change a session that
      // another client uses next.
      const { pid, writer } = await inTime(serverOf(link));
      // A different process id shows a pooler, behind which later tries would fail too.
      if (pid !== link.pid) this.#closed = true;
      if (this.#closed) return await leave(link);
      if (!writer) throw new Error('The server takes no writes');
      await inTime(link.send(`LISTEN "${this.channel}"`));
      this.#begin(link);
    } catch {
      // Opening has failed. The waiters poll until the next try.
      link?.destroy();
      this.#notBefore = performance.now() + this.#pause;
      this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    }
  }

  /**
   * Closes the connection if its server is no longer the writer. A demoted server may keep its
   * connections open, but releases notify processes through the new writer, and the next
   * connection leads there.
   */
  async #check(link: PostgresLink): Promise<void> {
    this.#checkAt = performance.now() + CHECK_EVERY;
    const server = await inTime(serverOf(link, this.channel)).catch(() => undefined);
    // If the server does not answer, the connection is closed too.
    if (!server?.writer) link.destroy();
  }

  #begin(link: PostgresLink): void {
    // The process stays alive as long as it has waiters, since each waiter has a timer.
    link.unref();
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
 * Reads the process id of the connection's session, and whether the server takes writes.
 *
 * @param channel the channel of the connection. It is written into the statement, since
 * pg_stat_activity shows the last statement of a session
 */
async function serverOf(link: PostgresLink, channel?: string): Promise<{ pid: number; writer: boolean }> {
  const listens = channel === undefined ? '' : ` /* after LISTEN "${channel}" */`;
  const { rows } = await link.send(
    `SELECT pg_backend_pid() AS pid, current_setting('transaction_read_only') AS read_only${listens}`,
  );
  return { pid: Number(rows[0]?.pid), writer: rows[0]?.read_only !== 'on' };
}

/** Closes the connection. If the server does not answer, closes only the socket. */
async function leave(link: PostgresLink): Promise<void> {
  await inTime(link.quit(), QUIT_LIMIT).catch(() => link.destroy());
}
