import type { AcquireRequest, OnceRequest, RefusalReason } from '../../interfaces/lock-store.interface.js';
import { LockError } from '../../lock.errors.js';
import { LATEST, milliseconds } from './store-arguments.js';
import { show } from '../../error-text.js';

/** On what terms an attempt takes a key, in milliseconds; `null` for what it does not ask for, as statements take it. */
export interface Conditions {
  /** How long ago the holder of a held lock must have renewed it. */
  stealAfter: number | null;
  /** The nominal time of a run that happens once. */
  tick: number | null;
  /** How far the tick, and a recorded tick, may be ahead of the store's clock. */
  ahead: number | null;
  /** In place of a tick: the length of the slots of the store's clock in which a key runs once. */
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

/** Whether an attempt asks for a free key and nothing else, as most do. */
export function isPlain({ stealAfter, tick, slot, gap }: Conditions): boolean {
  return stealAfter === null && tick === null && slot === null && gap === null;
}

/** What a store knows of a key when it decides: times in epoch milliseconds, by its own clock. */
export interface KeyState {
  now: number;
  /** Whether somebody holds the key, also when the lease has run out; not while a release keeps it. */
  owned: boolean;
  expiresAt: number;
  renewedAt: number;
  paused: boolean;
  lastTick: number | null;
}

/** Why an attempt does not get the key, in the order of {@link RefusalReason}; `undefined` when it does. Statements decide in the same way. */
export function refusalReason(
  terms: Conditions,
  state: KeyState,
): Exclude<RefusalReason, 'contention'> | undefined {
  const { now } = state;
  const tick = tickAt(terms, now);
  if (tick !== null && terms.ahead !== null && tick > now + terms.ahead) return 'tick-ahead';
  if (state.paused) return 'paused';
  if (isDone(terms, state) && ignoredTick(terms, state) === undefined) return 'tick-done';
  const stealable = terms.stealAfter !== null && state.owned && state.renewedAt <= now - terms.stealAfter;
  return state.expiresAt > now && !stealable ? 'held' : undefined;
}

/**
 * The recorded tick that would refuse the attempt, if it lies too far ahead of the store's
 * clock and so is ignored.
 */
export function ignoredTick(terms: Conditions, state: KeyState): number | undefined {
  const { lastTick, now } = state;
  const tooFar = lastTick !== null && terms.ahead !== null && lastTick > now + terms.ahead;
  return tooFar && isDone(terms, state) ? lastTick : undefined;
}

/**
 * Whether the recorded tick is the requested tick or a later one. With `failOver`, it is not
 * done while its holder has not released the lock.
 */
function isDone(terms: Conditions, { now, lastTick, owned }: KeyState): boolean {
  const from = terms.gap === null ? tickAt(terms, now) : now - terms.gap + 1;
  if (from === null || lastTick === null || lastTick < from) return false;
  return !(owned && lastTick === terms.failOver);
}

/** The tick of a run that begins now. */
export function tickAt({ tick, slot, gap }: Conditions, now: number): number | null {
  if (gap !== null) return now;
  return slot === null ? tick : now - (now % slot);
}

/** @throws LockError for terms that cannot be read */
export function conditionsOf({ stealAfter, once }: AcquireRequest): Conditions {
  return {
    stealAfter: stealAfter === undefined ? null : milliseconds('stealAfter', stealAfter),
    ...(once === undefined ? NOT_ONCE : onceOf(once)),
  };
}

const NOT_ONCE = { tick: null, ahead: null, slot: null, gap: null, failOver: null };

/**
 * Milliseconds. A statement reads the clock when it begins, so a start that another statement
 * has recorded meanwhile may be a little ahead.
 */
const CLOCK_SLACK = 1_000;

function onceOf(once: OnceRequest): Omit<Conditions, 'stealAfter'> {
  const { tick, ahead, failOver, slot, gap, ...others }: Record<string, unknown> = { ...once };
  const forms = [
    [tick, ahead, failOver].some((value) => value !== undefined),
    slot !== undefined,
    gap !== undefined,
  ];
  const known = typeof once === 'object' && once !== null && Object.keys(others).length === 0;
  if (!known || forms.filter(Boolean).length !== 1)
    throw new LockError(
      `once must be { tick, ahead, failOver? }, { slot } or { gap }, but it is ${show(once)}.`,
    );
  if (slot !== undefined) return { ...NOT_ONCE, slot: milliseconds('once.slot', slot) };
  if (gap !== undefined) {
    const length = milliseconds('once.gap', gap);
    return { ...NOT_ONCE, gap: length, ahead: Math.min(length, CLOCK_SLACK) };
  }
  if (typeof tick !== 'number' || !Number.isInteger(tick) || tick < 0 || tick > LATEST)
    throw new LockError(
      `once.tick must be the whole epoch milliseconds of a date, such as Date.getTime() gives, but it is ${show(tick)}.`,
    );
  if (typeof ahead !== 'number' || !Number.isFinite(ahead) || ahead < 0)
    throw new LockError(
      `once.ahead must be a finite number of milliseconds, 0 or more, but it is ${show(ahead)}.`,
    );
  if (failOver !== undefined && typeof failOver !== 'boolean')
    throw new LockError(`once.failOver must be true or false, but it is ${show(failOver)}.`);
  return {
    ...NOT_ONCE,
    tick,
    ahead: Math.min(Math.ceil(ahead), LATEST),
    failOver: failOver === true ? tick : null,
  };
}
