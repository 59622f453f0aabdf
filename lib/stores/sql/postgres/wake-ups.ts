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
 * How many milliseconds the process remembers a notification. It polls the key sooner, or not
 * at all.
 */
const SOON = 5_000;

/** A notification that a key was released. */
interface Notification {
  /** Its time on the monotonic clock. */
  since: number;
  /** Whether this process has polled the key since then. */
  polled: boolean;
}

/**
 * Lets this process wait for keys that other processes hold. The process queues in the row of
 * the key, and the process that releases the key notifies the first process in the queue with
 * NOTIFY.
 *
 * A notified process has no right to the key. If another process is faster, the notified
 * process queues again, at the head. If no waiter of the notified process wants the key, it
 * notifies the next process. A missed notification costs latency, never correctness.
 */
export class PostgresWakeUps implements ProcessWakeUps {
  readonly #listener: PostgresListener;
  /**
   * The notifications of this process by key. A notification is forgotten when this process
   * has released the key, or after some seconds.
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
   * Whether this process has polled the key after a notification. Then other processes are
   * probably queued behind it.
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
    // Since most attempts get the key, only a refused attempt starts the connection, see
    // `queue`.
    const queues = isPlain(request) && !request.resend && this.#listener.isOpen && this.canQueue();
    const { channel } = this.#listener;
    return queues
      ? this.locks.acquireOrQueue(run, request, { channel, first })
      : this.locks.acquire(run, request);
  }

  async queue(run: Run, key: string, refusal: Refusal, first: boolean): Promise<Refusal> {
    // During a grace period, the key has no row in which this process could queue.
    if (!this.canQueue() || refusal.holder?.label === GRACE_LABEL) return refusal;
    const queued = await this.locks.queue(run, key, this.#listener.channel, first);
    if (queued === 'full') return refusal;
    // the key was just released, or its row is locked
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
    // After `gone`, the waiters poll too: the first answer may have been lost, and with it the
    // information whether another process was notified.
    if (result !== 'notified') this.onReleased(key, !(waiting && this.canQueue()));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#listener.close();
  }

  /** @param key the released key; if it is missing, notifications may have been lost */
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
      .catch(() => undefined); // the other processes also poll, a little later
  }
}

const SHORTEST_PAUSE = 1_000;
const LONGEST_PAUSE = 60_000;
const QUIT_LIMIT = 1_000;
/**
 * Milliseconds between two checks that the server is still the writer, while waiters rely on
 * the connection.
 */
const CHECK_EVERY = 5_000;

/**
 * Listens on the channel of this process. It opens a separate connection when a call waits for
 * the first time.
 *
 * Without the connection, waiters poll. They also poll behind a pooler, in whose sessions a
 * client cannot listen.
 */
export class PostgresListener {
  /**
   * The channel of this process alone. It is short, since the row of each key for which the
   * process waits contains it.
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
   * @param notified receives the released key, or no key after the connection has ended, since
   * notifications may have been lost
   */
  constructor(
    private readonly connect: (abandoned: AbortSignal) => Promise<PostgresLink>,
    private readonly notified: (key?: string) => void,
  ) {}

  /** Whether the connection is open. Unlike `listens`, this never opens it. */
  get isOpen(): boolean {
    return this.#link !== undefined;
  }

  /**
   * Whether the connection is open, so that notifications arrive. If not, this starts to open
   * it.
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
      // The check comes before LISTEN, which must not change a pooler's session, since another
      // client uses it next.
      const { pid, writer } = await inTime(serverOf(link));
      // there is a pooler, so later tries would fail too
      if (pid !== link.pid) this.#closed = true;
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
   * Closes the connection if its server was demoted. Such a server may keep its connections
   * open, but releases send notifications on the new writer, to which the next connection
   * leads.
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
 * Reads the process id of the connection's session, and whether the server takes writes.
 *
 * @param channel the channel of the connection, which pg_stat_activity then shows in the last
 * statement
 */
async function serverOf(link: PostgresLink, channel?: string): Promise<{ pid: number; writer: boolean }> {
  const listens = channel === undefined ? '' : ` /* after LISTEN "${channel}" */`;
  const { rows } = await link.send(
    `SELECT pg_backend_pid() AS pid, current_setting('transaction_read_only') AS read_only${listens}`,
  );
  return { pid: Number(rows[0]?.pid), writer: rows[0]?.read_only !== 'on' };
}

/** Closes the connection, or destroys it if it is dead. */
async function leave(link: PostgresLink): Promise<void> {
  await inTime(link.quit(), QUIT_LIMIT).catch(() => link.destroy());
}
