import type { Refusal, RefusalReason } from '../../interfaces/lock-store.interface.js';
import { recordOf, type KeyState } from './key-state.js';

/**
 * The conditions under which an attempt takes a key, in milliseconds. A condition that the
 * request leaves out is `null`, as statements take it.
 */
export interface Conditions {
  /** How long ago the holder of a held lock must have renewed it. */
  stealAfter: number | null;
  /** The nominal time of a run that happens once. */
  tick: number | null;
  /** How far the tick, and a recorded tick, may be ahead of the store's clock. */
  ahead: number | null;
  /**
   * In place of a tick: the length of the slots of the store's clock in which a key runs
   * once.
   */
  slot: number | null;
  /**
   * In place of a tick: how long after the last start, by the store's clock, the key does not
   * run.
   */
  gap: number | null;
  /**
   * The tick once more, if it may be repeated after a run that ended without a release; else
   * null.
   */
  failOver: number | null;
}

/** The attempt collided with others: nothing was changed, and the holder is not known. */
export const CONTENTION: Refusal = { acquired: false, reason: 'contention' };

/** Whether an attempt takes a free key under no further condition, as most attempts do. */
export function isPlain({ stealAfter, tick, slot, gap }: Conditions): boolean {
  return stealAfter === null && tick === null && slot === null && gap === null;
}

/** Refuses an attempt; `undefined` if it gets the key. Statements decide in the same way. */
export function refusalOf(conditions: Conditions, state: KeyState): Refusal | undefined {
  const reason = refusalReason(conditions, state);
  return reason === 'held'
    ? { acquired: false, reason, holder: recordOf(state) }
    : reason && { acquired: false, reason };
}

/** In the order of {@link RefusalReason}. */
function refusalReason(conditions: Conditions, state: KeyState): RefusalReason | undefined {
  const { now } = state;
  const { ahead, stealAfter } = conditions;
  const tick = tickAt(conditions, now);
  if (tick !== null && ahead !== null && tick > now + ahead) return 'tick-ahead';
  if (state.paused) return 'paused';
  if (isDone(conditions, state) && ignoredTick(conditions, state) === undefined) return 'tick-done';
  const stealable = stealAfter !== null && state.owned && state.renewedAt <= now - stealAfter;
  return state.expiresAt > now && !stealable ? 'held' : undefined;
}

/**
 * The recorded tick that would refuse the attempt, if it lies too far ahead of the store's
 * clock and so is ignored.
 */
export function ignoredTick(conditions: Conditions, state: KeyState): number | undefined {
  const { lastTick, now } = state;
  const { ahead } = conditions;
  const tooFar = lastTick !== null && ahead !== null && lastTick > now + ahead;
  return tooFar && isDone(conditions, state) ? lastTick : undefined;
}

/**
 * Whether the recorded tick is the requested tick or a later one. With `failOver`, it is not
 * done while its holder has not released the lock.
 */
function isDone(conditions: Conditions, { now, lastTick, owned }: KeyState): boolean {
  const { gap, failOver } = conditions;
  const from = gap === null ? tickAt(conditions, now) : now - gap + 1;
  if (from === null || lastTick === null || lastTick < from) return false;
  return !(owned && lastTick === failOver);
}

/** The tick of a run that begins now. */
export function tickAt({ tick, slot, gap }: Conditions, now: number): number | null {
  if (gap !== null) return now;
  return slot === null ? tick : now - (now % slot);
}
