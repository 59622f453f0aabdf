import { Opening } from '../shared/opening.js';
import type { OpenExecutor, SqlExecutor } from './sql-executor.js';
import { storeFailure } from './store-failure.js';

/** The executor that a store has opened, and the database that is opened on it. */
interface Opened<Database> {
  executor: SqlExecutor;
  database: Database;
}

/** An operation of a store, as its error messages describe it. */
export interface Operation {
  /** The name of the operation, such as `acquire "nightly-report"`. */
  doing: string;
  /** The owner ids in the statements of the operation, which no error may show. */
  owners?: readonly string[];
}

/**
 * Opens a database before it is first used, and runs operations on it. Every failure becomes
 * an error of this library.
 */
export class SqlOpening<Database extends { close(): Promise<void> }> extends Opening<Opened<Database>> {
  /** @param doing the name of the opening in error messages */
  constructor(doing: string, openExecutor: OpenExecutor, open: (executor: SqlExecutor) => Promise<Database>) {
    super(async () => {
      const executor = await openExecutor();
      try {
        return { executor, database: await open(executor) };
      } catch (error) {
        await executor.close();
        throw storeFailure(error, doing, executor.description);
      }
    });
  }

  /**
   * Opens the database if it is not open yet, and runs `work` on it.
   *
   * @throws LockStoreError if `work` fails, or if the store is closed
   */
  async withDatabase<T>(
    { doing, owners = [] }: Operation,
    work: (database: Database, executor: SqlExecutor) => Promise<T>,
  ): Promise<T> {
    const { executor, database } = await this.get(doing);
    try {
      return await work(database, executor);
    } catch (error) {
      throw storeFailure(error, doing, executor.description, owners);
    }
  }

  override async close(): Promise<undefined> {
    const opened = await super.close();
    await opened?.database.close();
    await opened?.executor.close();
  }
}
