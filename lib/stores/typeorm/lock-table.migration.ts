import type { DataSource, MigrationInterface, QueryRunner } from 'typeorm';
import { TypeOrmExecutor } from '../executors/typeorm-executor.js';
import { createTable, tableName, type LockTable, type LockTableDatabase } from '../sql/lock-table.ddl.js';
import { resolveTable } from '../sql/lock-table.schema.js';
import { readTable, TABLE_OPTIONS, type LockTableOptions } from '../sql/sql-store.options.js';
import { assertKnownOptions } from '../../options/known-options.js';

// TypeORM sorts migrations by the time at the end of their names. The migration is the same in
// all releases, so the time is too.
const TIMESTAMP = '1763596800000';

/**
 * A TypeORM migration that creates the lock table, and drops it when reverted:
 * `migrations: [lockTableMigration()]`, or a class that extends it in a file of the
 * application's migrations.
 *
 * @throws LockError for a name that is not a plain identifier
 *
 * @publicApi
 */
export function lockTableMigration(options: LockTableOptions = {}): new () => MigrationInterface {
  assertKnownOptions('lockTableMigration()', options, TABLE_OPTIONS);
  const table = readTable(options);
  const standard = table.table === 'locks' && table.schema === undefined;
  const subject = standard
    ? 'LocksTable'
    : ['LockTable', table.schema, table.table, ''].filter((part) => part !== undefined).join('_');

  return class implements MigrationInterface {
    readonly name: string = `Create${subject}${TIMESTAMP}`;

    async up(queryRunner: QueryRunner): Promise<void> {
      await queryRunner.query(createTable(databaseOf(queryRunner), await resolved(queryRunner, table)));
    }

    async down(queryRunner: QueryRunner): Promise<void> {
      const name = tableName(databaseOf(queryRunner), await resolved(queryRunner, table));
      await queryRunner.query(`DROP TABLE ${name}`);
    }
  };
}

/**
 * Finds the schema that a store on this DataSource uses, even if the migration's connection
 * has other settings.
 */
async function resolved(queryRunner: QueryRunner, table: LockTable): Promise<LockTable> {
  return resolveTable(new TypeOrmExecutor(dataSourceOf(queryRunner)), table, (sql) => queryRunner.query(sql));
}

function databaseOf(queryRunner: QueryRunner): LockTableDatabase {
  // createTable() and tableName() refuse other types
  return dataSourceOf(queryRunner).options.type as LockTableDatabase;
}

/** TypeORM 0.3 calls the DataSource of a query runner `connection`. */
function dataSourceOf(queryRunner: QueryRunner): DataSource {
  return queryRunner.dataSource ?? queryRunner.connection;
}
