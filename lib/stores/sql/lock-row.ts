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
 * `expires_ms` of a lease that never ends: the largest whole number that JavaScript keeps
 * exactly.
 */
export const NEVER = Number.MAX_SAFE_INTEGER;

/**
 * The columns of the table, in order; that of PostgreSQL has one more, see {@link columnsIn}.
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
 * The columns of the table in this database: only PostgreSQL has a queue of waiting processes.
 */
export function columnsIn(kind: string): readonly string[] {
  return kind === 'postgres' ? [...COLUMNS, 'waiting'] : COLUMNS;
}

/**
 * What an attempt that is refused sees of a row, as the drivers give it: BIGINT as string,
 * number or bigint, text as string or bytes.
 */
export interface HolderRow {
  key: string | Buffer;
  /**
   * 1 or true if the key has a holder, 0 or false if it is free or only kept. The owner itself
   * is a capability, and stays in the database.
   */
  owned: unknown;
  token: unknown;
  expires_ms: unknown;
  label: string | Buffer | null;
  started_ms: unknown;
  renewed_ms: unknown;
  tick_ms: unknown;
  paused: unknown;
  /** The database's clock when it answered. */
  now_ms: unknown;
}

/** A whole row. */
export interface LockRow extends HolderRow {
  last_label: string | Buffer | null;
  last_started_ms: unknown;
  last_ended_ms: unknown;
  last_outcome: LockOutcome;
}

/** The row of a key that has none: only the clock is known. */
export type NoRow = { [Column in keyof HolderRow]: Column extends 'now_ms' ? unknown : null };

/**
 * `ignorable` is the recorded tick that alone refused the attempt, although it lies too far
 * ahead: the attempt may be repeated, ignoring it.
 */
export type RowRefusal = Refusal & { ignorable?: number };

/** The result of an attempt that gets the key. */
export function granted(token: unknown): LockAcquireResult {
  return { acquired: true, fencingToken: Number(token) };
}

/**
 * The result of an attempt that does not get the key. `undefined`: the row grants it, unless
 * another attempt takes the key just now.
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
 * Why a lock was not released to a waiter, by the lease as it is now. Without a row the lease
 * is not, or no longer, this owner's.
 */
export function refusedRelease(lease: { paused: unknown } | undefined): Refusal {
  if (!lease) return { acquired: false, reason: 'held' };
  return isTrue(lease.paused) ? { acquired: false, reason: 'paused' } : CONTENTION; // its row is locked
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

/** The last run of the key that has ended. */
function lastRunOf(row: LockRow): RunState | undefined {
  if (row.last_ended_ms === null) return undefined;
  return {
    label: textOf(row.last_label),
    startedAt: Number(row.last_started_ms),
    endedAt: Number(row.last_ended_ms),
    outcome: row.last_outcome,
  };
}

/** Of a boolean, as the drivers give it. */
export function isTrue(value: unknown): boolean {
  return Number(value) !== 0;
}

function textOf(text: string | Buffer | null): string | null {
  return text === null ? null : String(text);
}
