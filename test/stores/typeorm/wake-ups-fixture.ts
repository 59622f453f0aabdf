import { EventEmitter, once } from 'node:events';
import type { DataSource } from 'typeorm';
import type { SqlLockStore, SqlStoreOptions } from '../../../lib/stores/sql/index.js';
import type { Target } from '../../servers/targets.js';
import { Fixture, setIsolation, storeOver, type ClientName, type ISOLATION_LEVELS } from './fixture.js';

export const TTL = 60_000;
/**
 * The text of a last notification to all processes. A process that has received it has
 * received all earlier notifications.
 */
const MARK = 'everything before this has arrived';

/**
 * A waiting process: a store with a DataSource of its own, and the notifications that the
 * store receives.
 */
export class Waiter {
  /**
   * The keys of the notifications that no test has awaited yet. `undefined` is a notification
   * to poll all keys.
   */
  readonly calls: (string | undefined)[] = [];
  /** The keys for which this process has no waiter left. */
  readonly unwanted = new Set<string>();
  listening = false;
  private readonly heard = new EventEmitter();

  constructor(
    readonly store: SqlLockStore,
    readonly owner: string,
    readonly dataSource: DataSource,
  ) {
    store.onReleased((key) => {
      this.calls.push(key);
      this.heard.emit('call');
      return key === undefined || !this.unwanted.has(key);
    });
  }

  acquire(key: string) {
    return this.store.acquire(key, this.owner, TTL, { waiting: true });
  }

  /**
   * Releases the key, and forgets the notification that the store sends to its own waiters.
   */
  async release(key: string, waiting = false): Promise<boolean> {
    const released = await this.store.release(key, this.owner, { waiting });
    if (this.calls.includes(key)) this.calls.splice(this.calls.indexOf(key), 1);
    return released;
  }

  /**
   * Polls a held key until the process listens for notifications and is in the queue of the
   * key.
   */
  async queue(key: string) {
    for (;;) {
      const answer = await this.acquire(key);
      if (answer.acquired) throw new Error(`${key} was free`);
      if (!answer.queued) continue;
      this.listening = true;
      return answer;
    }
  }

  /** Waits for a notification of the key, and forgets it. */
  async called(key: string | undefined): Promise<void> {
    while (!this.calls.includes(key)) await once(this.heard, 'call');
    this.calls.splice(this.calls.indexOf(key), 1);
  }
}

/** A PostgreSQL database that several processes use for waiting. */
export class WakeUps {
  private readonly stores: SqlLockStore[] = [];

  private constructor(
    readonly fixture: Fixture,
    /** The connection that sends the specs' own statements. */
    readonly admin: DataSource,
    readonly table: string,
    private readonly options: SqlStoreOptions,
    private readonly client: ClientName,
  ) {}

  static async open(
    target: { open(): Promise<Target> },
    options: SqlStoreOptions = {},
    client: ClientName = 'TypeORM',
  ): Promise<WakeUps> {
    const fixture = await Fixture.open(target);
    const table = options.weak ? 'locks_weak' : 'locks';
    return new WakeUps(fixture, await fixture.dataSource(), table, options, client);
  }

  async waiter(
    owner: string,
    { level, ...extra }: { level?: (typeof ISOLATION_LEVELS)[number]; [more: string]: unknown } = {},
  ): Promise<Waiter> {
    const dataSource = await this.fixture.dataSource(extra);
    if (level) await setIsolation(dataSource, level);
    const store = storeOver(this.client, dataSource, this.options);
    await store.prepare();
    this.stores.push(store);
    return new Waiter(store, owner, dataSource);
  }

  /** Returns the processes in the queue of a key, by their channels. */
  async line(key: string): Promise<string[]> {
    const rows: { waiting: string[] | null }[] = await this.admin.query(
      `SELECT waiting FROM ${this.table} WHERE key = $1`,
      [key],
    );
    const waiting = rows[0]?.waiting ?? [];
    if (rows[0]?.waiting?.length === 0)
      throw new Error('an empty line has to be NULL: a release looks for that');
    return waiting;
  }

  /** Returns a version of the key's row, which changes with each write. */
  async version(key: string): Promise<string> {
    const rows: { version: string }[] = await this.admin.query(
      `SELECT xmin || ' ' || ctid AS version FROM ${this.table} WHERE key = $1`,
      [key],
    );
    return String(rows[0]?.version);
  }

  /** Returns those of these keys in whose queue the process with this channel is. */
  async queuedFor(keys: string[], channel: string): Promise<string[]> {
    const rows: { key: string }[] = await this.admin.query(
      `SELECT key FROM ${this.table} WHERE key = ANY ($1) AND $2 = ANY (waiting)`,
      [keys, channel],
    );
    return rows.map(({ key }) => key);
  }

  /** Returns the sessions that listen for notifications. */
  async listeners(): Promise<{ pid: number; channel: string }[]> {
    const rows: { pid: number; query: string }[] = await this.admin.query(
      `SELECT pid, query FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%LISTEN "%' AND pid <> pg_backend_pid()`,
    );
    return rows.map(({ pid, query }) => ({ pid, channel: /"(.*)"/.exec(query)?.[1] ?? '' }));
  }

  /** Waits until these waiters have received every notification that was sent. */
  async delivered(...waiters: Waiter[]): Promise<void> {
    for (const { channel } of await this.listeners())
      await this.admin.query('SELECT pg_notify($1, $2)', [channel, MARK]);
    await Promise.all(waiters.filter(({ listening }) => listening).map((waiter) => waiter.called(MARK)));
  }

  async dispose(): Promise<void> {
    for (const store of this.stores) await store.close();
    await this.fixture.dispose();
  }
}
