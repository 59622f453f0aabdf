import type {
  LockHistory,
  LockInspection,
  LockOutcome,
  LockRecord,
  LockRun,
} from '../../interfaces/lock-record.interface.js';
import type { KeyState } from '../shared/conditions.js';

/** What the row of a key is in the SQL stores. */
export interface LockEntry {
  /** `null` when nobody holds the key, also while a release keeps it taken. */
  owner: string | null;
  label: string | null;
  token: number;
  startedAt: number;
  renewedAt: number;
  expiresAt: number;
  lastRun?: LockRun;
  lastTick: number | null;
  paused: boolean;
}

const NEVER = Number.MAX_SAFE_INTEGER;

/** `expiresAt` of a free key. Not "now": a clock that steps back must not make a released key busy. */
export const FREE = 0;

/** A key that nobody has used, but for its token. */
export const UNUSED: Omit<LockEntry, 'token'> = {
  owner: null,
  label: null,
  startedAt: 0,
  renewedAt: 0,
  expiresAt: FREE,
  lastTick: null,
  paused: false,
};

/** Rounded up: a lease must not end before its holder believes that it does. */
export function expiry(now: number, ttl: number): number {
  return Math.min(Math.ceil(now + ttl), NEVER);
}

export function stateOf({ owner, ...entry }: Omit<LockEntry, 'token'>, now: number): KeyState {
  return { ...entry, owned: owner !== null, now };
}

/** A key that is held or kept will be used until its lease ends. */
export function lastUseOf({ renewedAt, expiresAt, lastRun, lastTick }: LockEntry): number {
  return Math.max(renewedAt, expiresAt, lastRun?.endedAt.getTime() ?? 0, lastTick ?? 0);
}

export function inspectionOf(key: string, entry: LockEntry | undefined, now: number): LockInspection {
  const history = entry && historyOf(entry);
  if (!entry || (entry.owner === null && entry.expiresAt <= now)) return { state: 'free', key, ...history };
  const state = entry.expiresAt > now ? 'held' : 'expired';
  return { state, key, holder: recordOf(key, entry, now), ...history };
}

export function recordOf(key: string, entry: LockEntry, now: number): LockRecord {
  const endless = entry.expiresAt === NEVER;
  return {
    key,
    label: entry.label,
    fencingToken: entry.token,
    startedAt: new Date(entry.startedAt),
    renewedAt: new Date(entry.renewedAt),
    expiresAt: endless ? null : new Date(entry.expiresAt),
    remaining: endless ? Infinity : entry.expiresAt - now,
  };
}

export function runOf(entry: LockEntry, endedAt: number, outcome: LockOutcome): LockRun {
  return { label: entry.label, startedAt: new Date(entry.startedAt), endedAt: new Date(endedAt), outcome };
}

function historyOf({ lastRun, lastTick, paused }: LockEntry): LockHistory {
  return {
    ...(lastRun && { lastRun: copyOf(lastRun) }),
    ...(lastTick !== null && { lastTick: new Date(lastTick) }),
    ...(paused && { paused }),
  };
}

/** Callers may change what they get, dates too, and the store's own must stay. */
function copyOf(run: LockRun): LockRun {
  return { ...run, startedAt: new Date(run.startedAt), endedAt: new Date(run.endedAt) };
}
