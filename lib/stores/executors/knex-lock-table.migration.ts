import { LockError } from '../../lock.errors.js';
import { assertKnownOptions } from '../../options/known-options.js';
import { assertSupportedDatabase, KnexPool, type KnexClient } from './knex-pool.js';
import { kindOf } from '../sql/client-kinds.js';
import { createTable, tableName, type LockTable, type LockTableDatabase } from '../sql/lock-table.ddl.js';
import { resolveTable } from '../sql/lock-table.schema.js';
import { readTable, TABLE_OPTIONS, type LockTableOptions } from '../sql/sql-store.options.js';

/** The members that the migration uses of the object that Knex passes to it. @publicApi */
export interface KnexMigrationRunner {
  readonly client: unknown;
  raw(sql: string): PromiseLike<unknown>;
}

/** A migration of Knex. @publicApi */
export interface KnexMigration {
  /** Creates the table. */
  readonly up: (knex: KnexMigrationRunner) => Promise<void>;
  /** Drops the table. */
  readonly down: (knex: KnexMigrationRunner) => Promise<void>;
}

/**
 * A migration of Knex that creates the lock table, and drops it when it is rolled back. Put it
 * into a file of the application's migrations:
 *
 * ```ts
 * export const { up, down } = knexLockTableMigration();
 * ```
 *
 * The table is in the same schema as for a store over `fromKnex()` with these options.
 *
 * @throws LockError for a name that is not a plain identifier
 * @publicApi
 */
export function knexLockTableMigration(options: LockTableOptions = {}): KnexMigration {
  assertKnownOptions('knexLockTableMigration()', options, TABLE_OPTIONS);
  const table = readTable(options);
  return {
    up: async (knex) => {
      const { type, resolved } = await placeOf(knex, table);
      await knex.raw(createTable(type, resolved));
    },
    down: async (knex) => {
      const { type, resolved } = await placeOf(knex, table);
      await knex.raw(`DROP TABLE ${tableName(type, resolved)}`);
    },
  };
}

async function placeOf(
  knex: KnexMigrationRunner,
  table: LockTable,
): Promise<{ type: LockTableDatabase; resolved: LockTable }> {
  const { client, raw } = Object(knex) as { client?: KnexClient; raw?: unknown };
  if (!client || typeof raw !== 'function')
    throw new LockError(
      `knexLockTableMigration() needs the object that Knex passes to a migration, but it got ${kindOf(knex)}.`,
    );
  assertSupportedDatabase('knexLockTableMigration()', client);
  const { type, schema } = new KnexPool(client);
  // Without the backslash, Knex would take a question mark in a regular expression for a
  // placeholder.
  const query = async (sql: string) => rowsOf(await knex.raw(sql.replaceAll('?', '\\?')));
  const resolved = await resolveTable({ client: 'Knex', type, schema }, table, query);
  return { type: type as LockTableDatabase, resolved };
}

/**
 * Returns the rows of a result of pg, since only PostgreSQL needs a query to find the schema.
 */
function rowsOf(result: unknown): Record<string, unknown>[] {
  return (result as { rows: Record<string, unknown>[] }).rows;
}
