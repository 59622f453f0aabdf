import type {
  LockHistory,
  LockInspection,
  LockOutcome,
  LockPage,
  LockRecord,
} from '../../interfaces/lock-record.interface.js';
import type { ListRequest } from '../../interfaces/lock-store.interface.js';

/**
 * The latest time of a JavaScript date, in epoch milliseconds. A lease until this time or
 * later counts as endless.
 */
export const LATEST = 8.64e15;

/** The state of a key in a store. Times are epoch milliseconds by the store's own clock. */
export interface KeyState {
  key: string;
  now: number;
  /**
   * Whether the key has an owner, even if the lease has expired. `false` while a release keeps
   * the key taken.
   */
  owned: boolean;
  token: number;
  label: string | null;
  startedAt: number;
  renewedAt: number;
  expiresAt: number;
  lastTick: number | null;
  paused: boolean;
  /** The run of the key that ended last. */
  lastRun?: RunState | undefined;
}

/** A run that has ended. */
export interface RunState {
  label: string | null;
  startedAt: number;
  endedAt: number;
  outcome: LockOutcome;
}

/**
 * Makes a record without the owner id, which stays in the store, since whoever knows it can
 * release the lock.
 */
export function recordOf({ expiresAt, now, ...state }: KeyState): LockRecord {
  const endless = expiresAt >= LATEST;
  return {
    key: state.key,
    label: state.label,
    fencingToken: state.token,
    startedAt: new Date(state.startedAt),
    renewedAt: new Date(state.renewedAt),
    expiresAt: endless ? null : new Date(expiresAt),
    remaining: endless ? Infinity : expiresAt - now,
  };
}

/** @param state `undefined` for a key that the store does not know */
export function inspectionOf(key: string, state: KeyState | undefined): LockInspection {
  if (!state) return { state: 'free', key };
  const held = state.expiresAt > state.now;
  const { lastRun: run } = state;
  const history: LockHistory = {
    ...(run && {
      lastRun: { ...run, startedAt: new Date(run.startedAt), endedAt: new Date(run.endedAt) },
    }),
    ...(state.lastTick !== null && { lastTick: new Date(state.lastTick) }),
    ...(state.paused && { paused: true }),
  };
  if (!held && !state.owned) return { state: 'free', key, ...history };
  return { state: held ? 'held' : 'expired', key, holder: recordOf(state), ...history };
}

/**
 * @param found up to `limit` + 1 records; the additional record shows that there is a next
 * page
 */
export function pageOf(found: readonly LockRecord[], limit: number): LockPage {
  const locks = found.slice(0, limit);
  return found.length > limit ? { locks, next: locks.at(-1)?.key } : { locks };
}

/** Makes the page for a store that has all its held locks in memory. */
export function sortedPage(
  held: readonly LockRecord[],
  { prefix, after, limit }: Required<ListRequest>,
): LockPage {
  const found = held
    .filter(({ key }) => key.startsWith(prefix) && compareKeys(key, after) > 0)
    .toSorted((a, b) => compareKeys(a.key, b.key));
  return pageOf(found, limit);
}

/**
 * Compares keys by their UTF-8 bytes, like the databases. JavaScript compares UTF-16 code
 * units, which sort differently.
 */
function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
