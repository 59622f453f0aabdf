import { bigint, boolean, mysqlTable, varbinary, varchar } from 'drizzle-orm/mysql-core';

export const locks = mysqlTable('locks', {
  key: varbinary('key', { length: 255 }).primaryKey(),
  owner: varbinary('owner', { length: 64 }),
  token: bigint('token', { mode: 'number' }).notNull(),
  expiresMs: bigint('expires_ms', { mode: 'number' }).notNull(),
  label: varchar('label', { length: 255 }),
  startedMs: bigint('started_ms', { mode: 'number' }),
  renewedMs: bigint('renewed_ms', { mode: 'number' }),
  tickMs: bigint('tick_ms', { mode: 'number' }),
  paused: boolean('paused').notNull().default(false),
  lastLabel: varchar('last_label', { length: 255 }),
  lastStartedMs: bigint('last_started_ms', { mode: 'number' }),
  lastEndedMs: bigint('last_ended_ms', { mode: 'number' }),
  lastOutcome: varchar('last_outcome', { length: 16 }),
});
