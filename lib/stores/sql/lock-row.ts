import type {
  LockHistory,
  LockInspection,
  LockOutcome,
  LockRecord,
  LockRun,
} from '../../interfaces/lock-record.interface.js';
import type { LockAcquireResult } from '../../interfaces/lock-store.interface.js';
import { ignoredTick, refusalReason, type Conditions } from '../shared/conditions.js';

/** `expires_ms` of a lease that never ends: the largest whole number that JavaScript keeps exactly. */
export const NEVER = Number.MAX_SAFE_INTEGER;

/** The columns of the table, in order; that of PostgreSQL has one more, see {@link columnsIn}. */
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

/** The columns of the table in this database: only PostgreSQL keeps who waits. */
export function columnsIn(kind: string): readonly string[] {
  return kind === 'postgres' ? [...COLUMNS, 'waiting'] : COLUMNS;
}

/** What a contender sees of a row, as the drivers give it: BIGINT as string, number or bigint, text as string or bytes. */
export interface HolderRow {
  key: string | Buffer;
  /** 1 or true when somebody holds it, 0 or false when it is free or merely kept. The owner itself is a capability, and stays in the database. */
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

/** The clock's answer about a key that has no row. */
export type NoRow = { [Column in keyof HolderRow]: Column extends 'now_ms' ? unknown : null };

/**
 * `ignorable` is the recorded tick that alone refused the attempt, although it lies too far
 * ahead: the attempt may be repeated, ignoring it.
 */
export type Refusal = Extract<LockAcquireResult, { acquired: false }> & { ignorable?: number };

export const CONTENTION: Refusal = { acquired: false, reason: 'contention' };

/** The answer to an attempt that does not get the key; `undefined` when, by this row, it does: unless someone else is taking it right now. */
export function refusalOf(
  row: HolderRow | NoRow,
  terms: Conditions & { ignored?: number | null },
): Refusal | undefined {
  const state = {
    now: Number(row.now_ms),
    owned: isTrue(row.owned),
    expiresAt: Number(row.expires_ms),
    renewedAt: Number(row.renewed_ms),
    paused: isTrue(row.paused),
    lastTick: row.tick_ms === null ? null : Number(row.tick_ms),
  };
  const reason = refusalReason(terms, state);
  const ignorable = ignoredTick(terms, state);
  if (reason === undefined && ignorable !== undefined && ignorable !== terms.ignored)
    return { ...CONTENTION, ignorable };
  if (reason === 'held' && row.key !== null) return { acquired: false, reason, holder: recordOf(row) };
  return reason && { acquired: false, reason };
}

/** Why a lock was not passed on, by the lease as it is now; without a row it is not, or no longer, this owner's. */
export function unpassed(lease: { paused: unknown } | undefined): Refusal {
  if (!lease) return { acquired: false, reason: 'held' };
  return isTrue(lease.paused) ? { acquired: false, reason: 'paused' } : CONTENTION; // its row is locked
}

export function inspectionOf(key: string, row: LockRow | undefined): LockInspection {
  const history = row && historyOf(row);
  if (!row || (!isHeld(row) && !isTrue(row.owned))) return { state: 'free', key, ...history };
  return { state: isHeld(row) ? 'held' : 'expired', key, holder: recordOf(row), ...history };
}

export function recordOf(row: HolderRow): LockRecord {
  const expires = Number(row.expires_ms);
  const endless = expires === NEVER;
  return {
    key: String(row.key),
    label: textOf(row.label),
    fencingToken: Number(row.token),
    startedAt: new Date(Number(row.started_ms)),
    renewedAt: new Date(Number(row.renewed_ms)),
    expiresAt: endless ? null : new Date(expires),
    remaining: endless ? Infinity : expires - Number(row.now_ms),
  };
}

function historyOf(row: LockRow): LockHistory {
  const lastRun = runOf(row);
  return {
    ...(lastRun && { lastRun }),
    ...(row.tick_ms !== null && { lastTick: new Date(Number(row.tick_ms)) }),
    ...(isTrue(row.paused) && { paused: true }),
  };
}

function runOf(row: LockRow): LockRun | undefined {
  if (row.last_ended_ms === null) return undefined;
  return {
    label: textOf(row.last_label),
    startedAt: new Date(Number(row.last_started_ms)),
    endedAt: new Date(Number(row.last_ended_ms)),
    outcome: row.last_outcome,
  };
}

function isHeld(row: HolderRow): boolean {
  return Number(row.expires_ms) > Number(row.now_ms);
}

/** Of a boolean, as the drivers give it. */
export function isTrue(value: unknown): boolean {
  return Number(value) !== 0;
}

function textOf(text: string | Buffer | null): string | null {
  return text === null ? null : String(text);
}
