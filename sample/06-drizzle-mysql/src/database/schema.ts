import {
  bigint,
  boolean,
  datetime,
  int,
  mysqlTable,
  primaryKey,
  varbinary,
  varchar,
} from 'drizzle-orm/mysql-core';

export const prices = mysqlTable(
  'prices',
  {
    supplier: varchar({ length: 100 }).notNull(),
    article: varchar({ length: 100 }).notNull(),
    cents: int().notNull(),
  },
  ({ supplier, article }) => [primaryKey({ columns: [supplier, article] })],
);

export const reports = mysqlTable('reports', {
  id: int().autoincrement().primaryKey(),
  second: datetime({ fsp: 3 }).notNull(),
  instance: varchar({ length: 255 }).notNull(),
  articles: int().notNull(),
  cents: int().notNull(),
});

/**
 * The table of nestjs-locked. It is in this schema so that drizzle-kit does not drop it as
 * unknown.
 */
export const locks = mysqlTable('locks', {
  key: varbinary({ length: 255 }).primaryKey(),
  owner: varbinary({ length: 64 }),
  token: bigint({ mode: 'number' }).notNull(),
  expiresMs: bigint('expires_ms', { mode: 'number' }).notNull(),
  label: varchar({ length: 255 }),
  startedMs: bigint('started_ms', { mode: 'number' }),
  renewedMs: bigint('renewed_ms', { mode: 'number' }),
  tickMs: bigint('tick_ms', { mode: 'number' }),
  paused: boolean().notNull().default(false),
  lastLabel: varchar('last_label', { length: 255 }),
  lastStartedMs: bigint('last_started_ms', { mode: 'number' }),
  lastEndedMs: bigint('last_ended_ms', { mode: 'number' }),
  lastOutcome: varchar('last_outcome', { length: 16 }),
});
