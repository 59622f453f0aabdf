import type {
  LockInspection,
  LockOutcome,
  LockRecord,
  LockRun,
} from '../../interfaces/lock-record.interface.js';
import type { LockAcquireResult } from '../../interfaces/lock-store.interface.js';

/** `expires_ms` of a lease that never ends: the largest whole number that JavaScript keeps exactly. */
export const NEVER = Number.MAX_SAFE_INTEGER;

/** The columns of the table, in order. `tick_ms` and `paused` are kept for once-per-tick jobs and for pausing a key. */
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

/** What a contender sees of a row, as the drivers give it: BIGINT as string, number or bigint, text as string or bytes. */
export interface HolderRow {
  key: string | Buffer;
  token: unknown;
  expires_ms: unknown;
  label: string | Buffer | null;
  started_ms: unknown;
  renewed_ms: unknown;
  /** The database's clock when it answered. */
  now_ms: unknown;
}

/** A whole row, but for the owner: that id is a capability, and stays in the database. */
export interface LockRow extends HolderRow {
  /** 1 or true when somebody holds it, 0 or false when it is free or merely kept. */
  owned: unknown;
  last_label: string | Buffer | null;
  last_started_ms: unknown;
  last_ended_ms: unknown;
  last_outcome: LockOutcome;
}

/** The answer to a contender that did not get the lock. A holder whose lease has run out tells nothing: someone is taking it over right now. */
export function refusalOf(row: HolderRow | undefined): LockAcquireResult {
  return row && isHeld(row)
    ? { acquired: false, reason: 'held', holder: recordOf(row) }
    : { acquired: false, reason: 'contention' };
}

export function inspectionOf(key: string, row: LockRow | undefined): LockInspection {
  const lastRun = row && runOf(row);
  const history = lastRun && { lastRun };
  if (!row || (!isHeld(row) && Number(row.owned) === 0)) return { state: 'absent', key, ...history };
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

function runOf(row: LockRow): LockRun | undefined {
  if (row.last_ended_ms === null) return undefined;
  return {
    label: textOf(row.last_label),
    startedAt: new Date(Number(row.last_started_ms)),
    endedAt: new Date(Number(row.last_ended_ms)),
    outcome: row.last_outcome,
  };
}

export function isHeld(row: HolderRow): boolean {
  return Number(row.expires_ms) > Number(row.now_ms);
}

function textOf(text: string | Buffer | null): string | null {
  return text === null ? null : String(text);
}
