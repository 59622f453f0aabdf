import type { ModuleRef } from '@nestjs/core';
import type { DataSource, DataSourceOptions, EntityManager } from 'typeorm';
import { LockError, LockStoreError } from '../../lock.errors.js';
import { safeError } from '../../safe-error.js';
import {
  assertDataSource,
  assertInitialized,
  describeDataSource,
  TypeOrmExecutor,
} from '../executors/typeorm-executor.js';
import { loadPackage } from '../shared/opening.js';
import { inTime, NoAnswerError, OPERATION_LIMIT } from '../shared/operation-limit.js';
import type { OpenExecutor } from '../sql/sql-executor.js';
import { storeFailure } from '../sql/store-failure.js';

/**
 * Opens a DataSource when the store needs it, and closes it when the store closes. Use it for
 * a DataSource that does not exist yet when the store is made.
 *
 * @publicApi
 */
export interface DataSourceHandle {
  /** Returns an initialized DataSource. The store does not call `open` before it opens. */
  open(): Promise<DataSource>;
  /** Closes everything that `open` has opened, but nothing that the application made. */
  close(dataSource: DataSource): Promise<void>;
}

/** Where a store finds its DataSource. @publicApi */
export type DataSourceChoice =
  | {
      /**
       * The name of the application's DataSource, as in the options of
       * `TypeOrmModule.forRoot()`. Default: the unnamed DataSource.
       */
      dataSource?: string | undefined;
      connection?: undefined;
    }
  | {
      /** Options of a DataSource that the store opens and closes for itself. */
      connection?: DataSourceOptions | undefined;
      dataSource?: undefined;
    };

/**
 * Reads the options that say where the store finds its DataSource.
 *
 * @param maker for messages: the name of the function with these options, the class of its
 * store, the supported types of databases, and a sentence that says what to use instead
 * @throws LockError for options that name no DataSource
 */
export function readDataSource(
  maker: { name: string; store: string; types: readonly string[]; otherwise?: string },
  { dataSource, connection }: { dataSource?: unknown; connection?: DataSourceOptions | undefined },
): (moduleRef: ModuleRef) => DataSourceHandle {
  if (dataSource !== undefined && connection !== undefined)
    throw new LockError(
      "dataSource and connection exclude each other: pass either the name of the application's DataSource, or options with which the store opens its own.",
    );
  if (dataSource !== undefined && typeof dataSource !== 'string')
    throw new LockError(
      `dataSource must be the name of a DataSource. For a DataSource object, use new ${maker.store}(dataSource).`,
    );
  if (connection === undefined)
    return (moduleRef) => applicationDataSource(moduleRef, maker.name, dataSource);
  if (typeof (Object(connection) as { type?: unknown }).type !== 'string')
    throw new LockError(
      `connection must be the options of a TypeORM DataSource, with a type: ${maker.name}({ connection: { type: 'postgres', url } }).`,
    );
  if (!maker.types.includes(connection.type))
    throw new LockError(
      `${maker.name}() cannot keep locks in a connection of the type ${JSON.stringify(connection.type)}. Supported are ${maker.types.join(', ')}.${maker.otherwise ? ` ${maker.otherwise}` : ''}`,
    );
  return () => ownDataSource(connection, maker.name);
}

/**
 * Returns a function that opens an executor on the given DataSource, or on the DataSource that
 * a handle opens.
 *
 * @param names for messages: the class of the store, and the function that makes it from
 * options
 * @throws LockError for anything but a DataSource or a handle
 */
export function openerOf(
  dataSource: DataSource | DataSourceHandle,
  { store, maker }: { store: string; maker: string },
): OpenExecutor<EntityManager> {
  const isHandle = 'open' in Object(dataSource);
  if (!isHandle) assertDataSource(dataSource, store, `For connection options, use ${maker}({ connection }).`);
  const handle = isHandle
    ? (dataSource as DataSourceHandle)
    : { open: async () => dataSource as DataSource, close: async () => undefined };
  return async () => {
    const opened = await handle.open();
    try {
      assertInitialized(opened);
    } catch (error) {
      await handle.close(opened);
      throw error;
    }
    return new TypeOrmExecutor(opened, () => handle.close(opened));
  };
}

/**
 * A handle for the DataSource that `TypeOrmModule.forRoot()` makes. `name` is the name that
 * the application has given there.
 */
function applicationDataSource(moduleRef: ModuleRef, maker: string, name?: string): DataSourceHandle {
  const wanted = name === undefined ? 'DataSource' : `DataSource "${name}"`;
  return {
    async open() {
      const { getDataSourceToken } = await loadPackage(
        `${maker}()`,
        '@nestjs/typeorm',
        PACKAGES,
        () => import('@nestjs/typeorm'),
      );
      let dataSource: Partial<DataSource> | undefined;
      try {
        dataSource = moduleRef.get<DataSource>(getDataSourceToken(name), { strict: false });
      } catch (error) {
        throw new LockError(
          `${maker}() found no ${wanted} in the application. Import TypeOrmModule.forRoot(), give the name of another DataSource ` +
            'in the option dataSource, or let the store open its own: ' +
            `${maker}({ connection: { type: ... } }).`,
          { cause: error },
        );
      }
      if (dataSource?.isInitialized) return dataSource as DataSource;
      // While Nest's container is still making the DataSource, it returns an empty object.
      const isMade = typeof dataSource?.initialize === 'function';
      throw new LockStoreError(
        isMade
          ? `The application's ${wanted} is not initialized: TypeORM's manualInitialization is set, or the DataSource was destroyed. Set enabled: false in the LockModule, and call LockService.enable() after dataSource.initialize().`
          : `The application's ${wanted} is not initialized. Use locks from onModuleInit on.`,
      );
    },
    close: async () => undefined,
  };
}

const PACKAGES = 'typeorm @nestjs/typeorm, and the driver of the database (pg, mysql2 or better-sqlite3)';

/** A handle for a DataSource that the store opens and closes. */
function ownDataSource(options: DataSourceOptions, maker: string): DataSourceHandle {
  return {
    async open() {
      const typeorm = await loadPackage(`${maker}()`, 'typeorm', PACKAGES, () => import('typeorm'));
      try {
        const initializing = new typeorm.DataSource(options).initialize();
        return await inTime(initializing, OPERATION_LIMIT, (late) => late.destroy());
      } catch (error) {
        // TypeORM's own message recommends the driver mysql, which has no prepared statements.
        if (error instanceof Error && error.name === 'DriverPackageNotInstalledError')
          throw new LockStoreError(
            `${maker}() needs the driver of ${options.type}. Run: npm install ${driverOf(options.type)}.`,
            { cause: safeError(error) },
          );
        throw storeFailure(error, 'open the lock store', describeDataSource(options));
      }
    },
    async close(dataSource) {
      try {
        await inTime(dataSource.destroy());
      } catch (error) {
        // A driver waits for connections that no longer answer, but a shutdown must not wait.
        if (!(error instanceof NoAnswerError)) throw error;
      }
    },
  };
}

function driverOf(type: string): string {
  if (type === 'postgres') return 'pg';
  return type === 'better-sqlite3' ? 'better-sqlite3' : 'mysql2';
}
