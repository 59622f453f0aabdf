import type { LockOutcome } from '../../interfaces/lock-record.interface.js';
import type { LockAcquireResult, Refusal } from '../../interfaces/lock-store.interface.js';
import {
  CONTENTION,
  ignoredTick,
  refusalOf as refusalByState,
  type Conditions,
} from '../shared/conditions.js';
import type { KeyState, RunState } from '../shared/key-state.js';

/**
 * The value of `expires_ms` for a lease that never ends: the largest integer up to which
 * JavaScript keeps all integers exactly.
 */
export const NEVER = Number.MAX_SAFE_INTEGER;

/**
 * The columns of the lock table, in order. On PostgreSQL the table has one more column, see
 * {@link columnsIn}.
 */
export const COLUMNS = [
  'key',
  'owner',
  'token',
  'expires_ms',
  'label',
  'started_ms',
  'renewed_ms',
  'tick_ms',
  'paused',
  'last_label',
  'last_started_ms',
  'last_ended_ms',
  'last_outcome',
] as const;

/**
 * Returns the columns of the lock table in a kind of database. Only PostgreSQL has a column
 * with the queue of waiting processes.
 */
export function columnsIn(kind: string): readonly string[] {
  return kind === 'postgres' ? [...COLUMNS, 'waiting'] : COLUMNS;
}

/**
 * The columns of a row that a refused attempt reads, in the types of the drivers: BIGINT is a
 * string, number or bigint, and text is a string or bytes.
 */
export interface HolderRow {
  key: string | Buffer;
  /**
   * 1 or true if the key has an owner; 0 or false if it is free, or kept after a release. The
   * owner id itself stays in the database, since a client that knows it can release the lock.
   */
  owned: unknown;
  token: unknown;
  expires_ms: unknown;
  label: string | Buffer | null;
  started_ms: unknown;
  renewed_ms: unknown;
  tick_ms: unknown;
  paused: unknown;
  /** The database's clock at the time of the read. */
  now_ms: unknown;
}

/** A row of the lock table with all columns, as the driver returns it. */
export interface LockRow extends HolderRow {
  last_label: string | Buffer | null;
  last_started_ms: unknown;
  last_ended_ms: unknown;
  last_outcome: LockOutcome;
}

/**
 * A row of nulls that the query returns for a key without a row. Only the clock has a value.
 */
export type NoRow = { [Column in keyof HolderRow]: Column extends 'now_ms' ? unknown : null };

/**
 * The refusal of an attempt. `ignorable` is the tick of the last run, if only this tick
 * refuses the attempt and the tick is implausibly far in the future. Then the attempt may be
 * repeated without regard to it.
 */
export type RowRefusal = Refusal & { ignorable?: number };

/** Returns the result of an attempt that has got the key. */
export function granted(token: unknown): LockAcquireResult {
  return { acquired: true, fencingToken: Number(token) };
}

/**
 * Returns the refusal that the row of a key causes. `undefined` if the row would grant the
 * key, since then another attempt is probably about to take it.
 */
export function refusalOf(
  row: HolderRow | NoRow,
  conditions: Conditions & { ignored?: number | null },
): RowRefusal | undefined {
  const state = stateOf(row);
  const refusal = refusalByState(conditions, state);
  const ignorable = ignoredTick(conditions, state);
  if (refusal === undefined && ignorable !== undefined && ignorable !== conditions.ignored)
    return { ...CONTENTION, ignorable };
  return refusal;
}

/**
 * Returns why a lock was not released to a waiter. Without a row, the releasing owner does not
 * hold the lease, or holds it no longer.
 */
export function refusedRelease(lease: { paused: unknown } | undefined): Refusal {
  if (!lease) return { acquired: false, reason: 'held' };
  // If the key is not paused, another session has locked its row.
  return isTrue(lease.paused) ? { acquired: false, reason: 'paused' } : CONTENTION;
}

export function stateOf(row: HolderRow | LockRow | NoRow): KeyState {
  return {
    key: String(row.key),
    now: Number(row.now_ms),
    owned: isTrue(row.owned),
    token: Number(row.token),
    label: textOf(row.label),
    startedAt: Number(row.started_ms),
    renewedAt: Number(row.renewed_ms),
    expiresAt: Number(row.expires_ms),
    lastTick: row.tick_ms === null ? null : Number(row.tick_ms),
    paused: isTrue(row.paused),
    lastRun: 'last_ended_ms' in row ? lastRunOf(row) : undefined,
  };
}

/** Returns the last run of the key that has ended. */
function lastRunOf(row: LockRow): RunState | undefined {
  if (row.last_ended_ms === null) return undefined;
  return {
    label: textOf(row.last_label),
    startedAt: Number(row.last_started_ms),
    endedAt: Number(row.last_ended_ms),
    outcome: row.last_outcome,
  };
}

/** Converts a boolean of any driver: some return booleans, others numbers or texts. */
export function isTrue(value: unknown): boolean {
  return Number(value) !== 0;
}

function textOf(text: string | Buffer | null): string | null {
  return text === null ? null : String(text);
}
