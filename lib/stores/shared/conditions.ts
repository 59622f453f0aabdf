import type { Refusal, RefusalReason } from '../../interfaces/lock-store.interface.js';
import { recordOf, type KeyState } from './key-state.js';

/**
 * The conditions of an attempt, in milliseconds. A condition that the request does not have is
 * `null`, since the statements use NULL for it.
 */
export interface Conditions {
  /** The attempt may take a held lock whose last renewal is at least this old. */
  stealAfter: number | null;
  /** The scheduled time of a run, for a key that runs once per tick. */
  tick: number | null;
  /**
   * How far the requested tick, and the recorded tick, may be ahead of the store's clock.
   */
  ahead: number | null;
  /**
   * Instead of a tick: the length of a slot. The key runs once in each slot of the store's
   * clock.
   */
  slot: number | null;
  /**
   * Instead of a tick: how much time must have passed since the last start, by the store's
   * clock.
   */
  gap: number | null;
  /**
   * The same value as `tick` if another run may repeat the tick after a crash; else null.
   */
  failOver: number | null;
}

/**
 * The refusal of an attempt that collided with others. The attempt changed nothing, and the
 * holder is unknown.
 */
export const CONTENTION: Refusal = { acquired: false, reason: 'contention' };

/** Whether the attempt has no condition except that the key is free, like most attempts. */
export function isPlain({ stealAfter, tick, slot, gap }: Conditions): boolean {
  return stealAfter === null && tick === null && slot === null && gap === null;
}

/**
 * Returns the refusal of an attempt, or `undefined` if the attempt gets the key. The
 * statements of databases apply the same rules.
 */
export function refusalOf(conditions: Conditions, state: KeyState): Refusal | undefined {
  const reason = refusalReason(conditions, state);
  return reason === 'held'
    ? { acquired: false, reason, holder: recordOf(state) }
    : reason && { acquired: false, reason };
}

/**
 * Returns the first reason for a refusal that applies, in the order of {@link RefusalReason}.
 */
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
 * The recorded tick, if it would refuse the attempt but is ignored because it lies too far
 * ahead of the store's clock.
 */
export function ignoredTick(conditions: Conditions, state: KeyState): number | undefined {
  const { lastTick, now } = state;
  const { ahead } = conditions;
  const tooFar = lastTick !== null && ahead !== null && lastTick > now + ahead;
  return tooFar && isDone(conditions, state) ? lastTick : undefined;
}

/**
 * Whether the recorded tick is the requested tick or a later tick. With `failOver`, a tick
 * counts as done only after its holder has released the lock.
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
