import type {
  LockHistory,
  LockInspection,
  LockOutcome,
  LockPage,
  LockRecord,
} from '../../interfaces/lock-record.interface.js';
import type { ListRequest } from '../../interfaces/lock-store.interface.js';

/**
 * The last moment that a date has, in epoch milliseconds. A lease that ends then or later
 * never ends.
 */
export const LATEST = 8.64e15;

/** What a store knows of a key: times in epoch milliseconds, by the store's own clock. */
export interface KeyState {
  key: string;
  now: number;
  /**
   * Whether the key has a holder, also after its lease has expired. `false` while a release
   * keeps the key taken.
   */
  owned: boolean;
  token: number;
  label: string | null;
  startedAt: number;
  renewedAt: number;
  expiresAt: number;
  lastTick: number | null;
  paused: boolean;
  /** The last run of the key that has ended. */
  lastRun?: RunState | undefined;
}

/** A run that has ended. */
export interface RunState {
  label: string | null;
  startedAt: number;
  endedAt: number;
  outcome: LockOutcome;
}

/** A record never carries the owner: that id is a capability, and stays in the store. */
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

/** @param state undefined for a key that the store does not know */
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

/** @param found one more than the page may have, if there are more */
export function pageOf(found: readonly LockRecord[], limit: number): LockPage {
  const locks = found.slice(0, limit);
  return found.length > limit ? { locks, next: locks.at(-1)?.key } : { locks };
}

/** The page of a store that has all its held locks at hand. */
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
 * The order of bytes in UTF-8, as in the databases. JavaScript's own order compares halves
 * of characters.
 */
function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
