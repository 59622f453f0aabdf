import { INTERNALS } from '../../../lib/lock-internals.js';
import { Logger } from '@nestjs/common';
import type { DataSource, EntityManager } from 'typeorm';
import { LockService } from '../../../lib/lock.service.js';
import type { SqlLockStore } from '../../../lib/stores/sql/index.js';
import type { SqlStore, Target } from '../../servers/targets.js';
import { CLIENTS, Fixture, storeOver, type ClientName } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

export const TTL = 60_000;

export type Level = 'READ UNCOMMITTED' | 'READ COMMITTED' | 'REPEATABLE READ' | 'SERIALIZABLE';

/**
 * The isolation levels at which the tests use a guard in a transaction of the application.
 * MySQL 5 has only two of them here, because each contender waits two seconds.
 */
export const ALLOWED: Record<SqlStore, Level[]> = {
  postgres: ['READ UNCOMMITTED', 'READ COMMITTED'],
  mariadb: ['READ COMMITTED'],
  mysql: ['READ UNCOMMITTED', 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'],
  mysql56: ['READ COMMITTED', 'REPEATABLE READ'],
  sqlite: ['SERIALIZABLE'],
};

/** SQLite is left out, because its own driver has no asynchronous transactions. */
export const transactionClientsOf = ({ name }: { name: SqlStore }): readonly ClientName[] =>
  name === 'sqlite' ? ['TypeORM'] : CLIENTS;

/** The members of a connection of pg or mysql2 that the tests use. */
interface DriverConnection {
  query(sql: string, done: (error: Error | null) => void): void;
}

/**
 * An application that writes under locks, and a thief, which appears to the database as
 * another process.
 */
export class Writers {
  private constructor(
    readonly fixture: Fixture,
    readonly application: DataSource,
    readonly store: SqlLockStore<any>,
    readonly service: LockService,
    readonly thief: SqlLockStore<any>,
    /** A LockService on the thief's store, whose calls can wait. */
    readonly contender: LockService,
    readonly thiefs: DataSource,
    private readonly client: ClientName,
  ) {}

  static async open(
    target: { open(): Promise<Target> },
    extra: object = {},
    client: ClientName = 'TypeORM',
  ): Promise<Writers> {
    const fixture = await Fixture.open(target);
    const application = await fixture.dataSource(extra);
    const thiefs = await fixture.dataSource();
    const store = storeOver(client, application);
    const thief = storeOver(client, thiefs);
    await store.prepare();
    await thief.prepare();
    Logger.overrideLogger(false);
    const [service, contender] = [store, thief].map(
      (one) => new LockService({ options: { ttl: '10s' }, openStore: () => one }),
    ) as [LockService, LockService];
    await service[INTERNALS].start();
    await contender[INTERNALS].start();
    await application.query('CREATE TABLE writes (name varchar(255))');
    return new Writers(fixture, application, store, service, thief, contender, thiefs, client);
  }

  async dispose(): Promise<void> {
    await this.service[INTERNALS].close();
    await this.contender[INTERNALS].close();
    await this.fixture.dispose();
  }

  /**
   * Runs a transaction of the application. Without TypeORM, `work` gets a connection of the
   * driver.
   */
  async transaction<T>(work: (transaction: any) => Promise<T>, level?: Level): Promise<T> {
    const run = async (manager: EntityManager) =>
      work(this.client === 'TypeORM' ? manager : await manager.queryRunner?.connect());
    return level ? this.application.transaction(level, run) : this.application.transaction(run);
  }

  /** Makes the next commit of this transaction fail. */
  failCommit(transaction: any, error: Error): void {
    const runner = transaction.queryRunner;
    if (runner) {
      const commit = runner.commitTransaction.bind(runner);
      runner.commitTransaction = async () => {
        runner.commitTransaction = commit;
        throw error;
      };
      return;
    }
    const query = transaction.query.bind(transaction);
    transaction.query = (text: any, ...rest: any[]) => {
      if ((text.sql ?? text) !== 'COMMIT') return query(text, ...rest);
      delete transaction.query;
      return rest.length > 0 ? rest[0](error) : Promise.reject(error);
    };
  }

  async write(transaction: EntityManager | DriverConnection, name: string): Promise<void> {
    const sql = `INSERT INTO writes VALUES ('${name}')`;
    if ('queryRunner' in transaction) return transaction.query(sql);
    await new Promise<void>((resolve, reject) => {
      void transaction.query(sql, (error) => (error ? reject(error) : resolve()));
    });
  }

  /** Counts the rows of this name that the thief sees. These are the committed rows. */
  async written(name: string): Promise<number> {
    const [{ n }] = await this.thiefs.query(`SELECT count(*) AS n FROM writes WHERE name = '${name}'`);
    return Number(n);
  }

  /** Acquires a new key for `holder`. */
  async hold(ttl = TTL): Promise<{ key: string; token: number }> {
    const key = newKey();
    return { key, token: tokenOf(await this.store.acquire(key, 'holder', ttl)) };
  }

  /** Ends the holder's lease, and gives the key to the thief. */
  async steal(key: string): Promise<void> {
    await this.thief.forceRelease(key);
    tokenOf(await this.thief.acquire(key, 'thief', TTL));
  }

  /** Resolves when the lease has expired by the database's clock. */
  async expiry(key: string): Promise<void> {
    while ((await this.thief.inspect(key)).state === 'held');
  }
}
