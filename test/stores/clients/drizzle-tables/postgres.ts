import { bigint, boolean, customType, pgTable, varchar } from 'drizzle-orm/pg-core';

const keyText = customType<{ data: string }>({ dataType: () => 'varchar(255) COLLATE "C"' });

export const locks = pgTable('locks', {
  key: keyText('key').primaryKey(),
  owner: varchar('owner', { length: 64 }),
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
  waiting: varchar('waiting', { length: 16 }).array(),
});
