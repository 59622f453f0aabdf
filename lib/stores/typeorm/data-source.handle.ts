import type { ModuleRef } from '@nestjs/core';
import type { DataSource, DataSourceOptions } from 'typeorm';
import { LockError, LockStoreError } from '../../lock.errors.js';
import { describeDataSource } from './data-source.description.js';
import { NoAnswerError, OPERATION_LIMIT, TimeLimit } from '../time-limit.js';
import { storeFailure } from './store-failure.js';

/**
 * A DataSource that a store opens when it needs it, and lets go in the end; for those that are not simply at hand.
 *
 * @publicApi
 */
export interface DataSourceHandle {
  /** Gives an initialized DataSource; called when the store is opened, and not before. */
  open(): Promise<DataSource>;
  /** Closes what `open` has opened, and nothing that the application made. */
  close(dataSource: DataSource): Promise<void>;
}

/** A DataSource that the application has made itself. */
export function handedIn(dataSource: DataSource): DataSourceHandle {
  return { open: async () => dataSource, close: async () => undefined };
}

/** The DataSource that `TypeOrmModule.forRoot()` makes, under the name that was given there. */
export function applicationDataSource(moduleRef: ModuleRef, name?: string): DataSourceHandle {
  const wanted = name === undefined ? 'DataSource' : `DataSource "${name}"`;
  return {
    async open() {
      const { getDataSourceToken } = await load('@nestjs/typeorm', () => import('@nestjs/typeorm'));
      let dataSource: Partial<DataSource> | undefined;
      try {
        dataSource = moduleRef.get<DataSource>(getDataSourceToken(name), { strict: false });
      } catch (error) {
        throw new LockError(
          `typeOrmStore() found no ${wanted} in the application. Import TypeOrmModule.forRoot(), give the name of another one ` +
            'in the option dataSource, or let the store open its own: typeOrmStore({ connection: { type: ... } }).',
          { cause: error },
        );
      }
      if (dataSource?.isInitialized) return dataSource as DataSource;
      // While the container is still making it, there is an empty object in its place.
      throw new LockStoreError(
        `The application's ${wanted} is not initialized. Use locks from onModuleInit on.`,
      );
    },
    close: async () => undefined,
  };
}

/** A DataSource of the store's own. */
export function ownDataSource(options: DataSourceOptions): DataSourceHandle {
  return {
    async open() {
      const typeorm = await load('typeorm', () => import('typeorm'));
      const timeLimit = new TimeLimit(OPERATION_LIMIT);
      try {
        const initializing = new typeorm.DataSource(options).initialize();
        return await timeLimit.race(initializing, (late) => late.destroy());
      } catch (error) {
        throw storeFailure(error, 'open the lock store', describeDataSource(options));
      } finally {
        timeLimit.end();
      }
    },
    async close(dataSource) {
      const timeLimit = new TimeLimit(OPERATION_LIMIT);
      try {
        await timeLimit.race(dataSource.destroy());
      } catch (error) {
        // Drivers wait for connections that do not answer any more; a shutdown must not.
        if (!(error instanceof NoAnswerError)) throw error;
      } finally {
        timeLimit.end();
      }
    },
  };
}

async function load<Module>(name: string, importing: () => Promise<Module>): Promise<Module> {
  try {
    return await importing();
  } catch (error) {
    throw new LockError(
      `typeOrmStore() needs the package ${name}. Run: npm install typeorm @nestjs/typeorm, and the driver of the database ` +
        '(pg, mysql2 or better-sqlite3).',
      { cause: error },
    );
  }
}
