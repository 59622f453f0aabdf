import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core';

export const locks = sqliteTable('locks', {
  key: text('key').primaryKey().notNull(),
  owner: text('owner'),
  token: integer('token').notNull(),
  expiresMs: integer('expires_ms').notNull(),
  label: text('label'),
  startedMs: integer('started_ms'),
  renewedMs: integer('renewed_ms'),
  tickMs: integer('tick_ms'),
  paused: integer('paused').notNull().default(0),
  lastLabel: text('last_label'),
  lastStartedMs: integer('last_started_ms'),
  lastEndedMs: integer('last_ended_ms'),
  lastOutcome: text('last_outcome'),
});
