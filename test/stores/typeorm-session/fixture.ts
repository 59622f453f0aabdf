import { createHash } from 'node:crypto';
import { DataSource, type DataSourceOptions } from 'typeorm';
import {
  TypeOrmSessionLockStore,
  type TypeOrmSessionLockStoreOptions,
} from '../../../lib/stores/typeorm/index.js';
import type { Target } from '../../servers/targets.js';
import { SessionLockStore } from '../../../lib/stores/sql/index.js';
import { driverExecutor, targetsAmong, type ClientName } from '../typeorm/fixture.js';

export const sessionTargets = () => targetsAmong('postgres', 'mariadb', 'mysql', 'mysql56');

export function sessionStoreOver(
  client: ClientName,
  dataSource: DataSource,
  options: TypeOrmSessionLockStoreOptions = {},
): SessionLockStore {
  if (client === 'TypeORM') return new TypeOrmSessionLockStore(dataSource, options);
  return new SessionLockStore(driverExecutor(dataSource), options);
}

/** An application with a database of its own, and the session lock stores on it. */
export class SessionFixture {
  private readonly stores: SessionLockStore[] = [];

  private constructor(
    private readonly target: Pick<Target, 'dispose' | 'options'>,
    readonly application: DataSource,
    private readonly client: ClientName,
  ) {}

  static async open(
    target: { open(): Promise<Pick<Target, 'dispose' | 'options'>> },
    client: ClientName = 'TypeORM',
  ): Promise<SessionFixture> {
    const opened = await target.open();
    // The pool of the application has a single connection, because the locks open connections
    // of their own.
    return new SessionFixture(
      opened,
      await new DataSource({ ...opened.options, poolSize: 1 } as DataSourceOptions).initialize(),
      client,
    );
  }

  get options(): DataSourceOptions {
    return this.target.options;
  }

  get postgres(): boolean {
    return this.options.type === 'postgres';
  }

  /** Opens a store on the application's DataSource. */
  async store(options: TypeOrmSessionLockStoreOptions = {}): Promise<SessionLockStore> {
    const store = sessionStoreOver(this.client, this.application, options);
    this.stores.push(store);
    await store.prepare();
    return store;
  }

  /**
   * Returns the ids of all sessions in the database, except those of the application's own
   * pool.
   */
  async sessions(): Promise<string[]> {
    const rows: { id: string }[] = await this.application.query(
      this.postgres
        ? `SELECT pid::text AS id FROM pg_stat_activity WHERE datname = current_database() AND application_name <> ''`
        : `SELECT CAST(id AS CHAR) AS id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()`,
    );
    return rows.map(({ id }) => id).toSorted();
  }

  /**
   * Returns the id of the session that holds a key. The server's name for the key must stay
   * the same in all versions of the library.
   */
  async holder(key: string): Promise<string | undefined> {
    const [row]: { id: string | null }[] = await this.application.query(
      this.postgres
        ? `SELECT pid::text AS id FROM pg_locks WHERE locktype = 'advisory' AND granted AND ${this.name(key)}`
        : `SELECT CAST(IS_USED_LOCK('${this.name(key)}') AS CHAR) AS id`,
    );
    return row?.id ?? undefined;
  }

  /** Resolves when this many sessions wait for a key on the server. */
  async waiting(key: string, count = 1): Promise<void> {
    for (;;) {
      const rows: object[] = await this.application.query(
        this.postgres
          ? `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND ${this.name(key)}`
          : `SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT GET_LOCK(''${this.name(key)}''%'`,
      );
      if (rows.length === count) return;
    }
  }

  private name(key: string): string {
    const { database } = this.options as { database: string };
    const scope = this.postgres ? [key] : [database, key];
    const digest = createHash('sha256')
      .update(['nestjs-locked', ...scope].join('\0'))
      .digest();
    if (this.postgres) return `(classid, objid) = (${digest.readUInt32BE(0)}, ${digest.readUInt32BE(4)})`;
    return `${key.slice(0, 23)}~${digest.toString('hex').slice(0, 40)}`;
  }

  /** Ends a session, as an administrator does. */
  async kill(id: string | undefined): Promise<void> {
    await this.application.query(this.postgres ? `SELECT pg_terminate_backend(${id})` : `KILL ${id}`);
  }

  async dispose(): Promise<void> {
    for (const store of this.stores) await store.close();
    await this.application.destroy();
    await this.target.dispose();
  }
}
