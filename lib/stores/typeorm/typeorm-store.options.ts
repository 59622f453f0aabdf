import type { DataSourceOptions } from 'typeorm';
import type { SessionStoreOptions } from '../sql/sessions/session-store.options.js';
import type { SqlStoreOptions } from '../sql/sql-store.options.js';

/** Options of {@link TypeOrmLockStore}. @publicApi */
export interface TypeOrmLockStoreOptions extends SqlStoreOptions {}

/** Options of {@link TypeOrmSessionLockStore}. @publicApi */
export interface TypeOrmSessionLockStoreOptions extends SessionStoreOptions {}

/** Options of {@link typeOrmStore}: the application's `dataSource`, or a `connection` of the store's own. @publicApi */
export type TypeOrmStoreOptions = TypeOrmLockStoreOptions & DataSourceChoice;

/** Options of {@link typeOrmSessionStore}: the application's `dataSource`, or a `connection` of the store's own. @publicApi */
export type TypeOrmSessionStoreOptions = TypeOrmSessionLockStoreOptions & DataSourceChoice;

/** Where a store finds its DataSource. @publicApi */
export type DataSourceChoice =
  | {
      /** The name of the application's DataSource, as given to `TypeOrmModule.forRoot({ name })`. Default: the unnamed one. */
      dataSource?: string | undefined;
      connection?: undefined;
    }
  | {
      /** From these the store opens a DataSource of its own, and closes it. */
      connection?: DataSourceOptions | undefined;
      dataSource?: undefined;
    };
