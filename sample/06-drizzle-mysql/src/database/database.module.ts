import { Global, Inject, Module, type OnApplicationShutdown } from '@nestjs/common';
import { drizzle, type MySql2Database } from 'drizzle-orm/mysql2';
import mysql from 'mysql2/promise';
import * as schema from './schema.js';

/** The injection token of the Drizzle database. */
export const DRIZZLE = Symbol('DRIZZLE');

export type Database = MySql2Database<typeof schema> & { $client: mysql.Pool };
/**
 * The transaction object that `db.transaction()` and `lock.transaction()` pass to their
 * callbacks.
 */
export type Transaction = Parameters<Parameters<Database['transaction']>[0]>[0];

export function openDatabase(): Database {
  const client = mysql.createPool({ uri: process.env.DATABASE_URL, timezone: 'Z' });
  return drizzle({ client, schema, mode: 'default' });
}

@Global()
@Module({ providers: [{ provide: DRIZZLE, useFactory: openDatabase }], exports: [DRIZZLE] })
export class DatabaseModule implements OnApplicationShutdown {
  constructor(@Inject(DRIZZLE) private readonly db: Database) {}

  /**
   * Closes the pool in the last hook of the shutdown. Before that hook, the work under locks
   * has ended, and the locks are released.
   */
  async onApplicationShutdown(): Promise<void> {
    await this.db.$client.end();
  }
}
