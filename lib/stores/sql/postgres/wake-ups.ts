import { OPERATION_LIMIT } from '../../shared/time-limit.js';
import { GRACE_LABEL } from '../grace-period.js';
import { CONTENTION, type Refusal } from '../../shared/conditions.js';
import type { Release } from '../../shared/requests.js';
import type { LockSessions, OnReleased, ProcessWakeUps, ReleaseResult, Run } from '../lock-statements.js';
import type { PostgresLink } from './postgres-link.js';
import { PostgresListener } from './postgres-listener.js';
import type { PostgresLocks } from './postgres-locks.js';

/** Milliseconds in which a process that was notified of a key polls it, if ever. */
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
  /** The keys of which this process was notified, until it has released them, or some seconds later. */
  readonly #notifications = new Map<string, Notification>();
  #closed = false;

  constructor(
    private readonly locks: PostgresLocks,
    private readonly sessions: LockSessions,
    connect: (abandoned: AbortSignal) => Promise<PostgresLink>,
    private readonly onReleased: OnReleased,
  ) {
    this.#listener = new PostgresListener(connect, (key) => this.#notified(key));
  }

  polls(key: string): boolean {
    const notification = this.#notifications.get(key);
    const first = notification?.polled === false;
    if (notification) notification.polled = true;
    return first;
  }

  async queue(run: Run, key: string, refusal: Refusal, first: boolean): Promise<Refusal> {
    // During a grace period there is no row in which to queue.
    if (!this.#listener.listens() || refusal.holder?.label === GRACE_LABEL) return refusal;
    const queued = await this.locks.queue(run, key, this.#listener.channel, first);
    if (queued === 'full') return refusal;
    return queued ? { ...refusal, queued: true } : CONTENTION; // it has just changed hands
  }

  async release(run: Run, request: Release, waiting: boolean): Promise<ReleaseResult> {
    const { channel } = this.#listener;
    const requeue = waiting && this.#listener.listens();
    const result = await this.locks.releaseAndNotify(run, request, {
      channel,
      requeue,
      contended: this.#wasContended(request.key),
    });
    return result === 'notified' && !requeue ? 'done' : result;
  }

  async forceRelease(run: Run, key: string): Promise<ReleaseResult> {
    const result = await this.locks.forceReleaseAndNotify(run, key, this.#listener.channel);
    return result === 'notified' ? 'done' : result;
  }

  released(key: string, waiting: boolean, result: ReleaseResult): void {
    if (result !== 'gone' && this.#wasContended(key)) this.#notifications.delete(key);
    // `gone` may be the result of a repetition, whose first answer was lost, and with it whether
    // another process was notified.
    if (result !== 'notified') this.onReleased(key, !(waiting && this.#listener.listens()));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#listener.close();
  }

  /** Whether this process got the key after a notification: other processes were then queued behind it. */
  #wasContended(key: string): boolean {
    return this.#notifications.get(key)?.polled === true;
  }

  /** @param key without it, notifications may have been missed */
  #notified(key?: string): void {
    const now = performance.now();
    for (const [old, { since }] of this.#notifications)
      if (now - since > SOON) this.#notifications.delete(old);
    if (key !== undefined) this.#notifications.set(key, { since: now, polled: false });
    if (this.onReleased(key) || key === undefined) return;
    this.#notifications.delete(key);
    if (this.#closed) return;
    this.sessions
      .use(OPERATION_LIMIT, (run) => this.locks.notifyNext(run, key, this.#listener.channel))
      .catch(() => undefined); // the others poll a little later
  }
}
