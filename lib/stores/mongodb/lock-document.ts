import type {
  LockHistory,
  LockInspection,
  LockOutcome,
  LockRecord,
  LockRun,
} from '../../interfaces/lock-record.interface.js';
import type { LockAcquireResult } from '../../interfaces/lock-store.interface.js';
import { refusalReason, type Conditions } from '../shared/conditions.js';

/** `expiresAt` of a lease that never ends: the last moment that a JavaScript date has. */
export const NEVER = new Date(8.64e15);

/** `expiresAt` of a free key. Not "now": a clock that steps back must not make a released key busy. */
export const FREE = new Date(0);

/** A key and its lock, as they are kept in the collection. */
export interface LockDocument {
  _id: string;
  /** The random id of the acquisition; `null` when nobody holds the key, also while a release keeps it taken. */
  owner: string | null;
  /** The random id of the call that was granted: by the owner alone, a second try of the same owner would look like a grant. */
  attempt: string;
  token: number;
  expiresAt: Date;
  label: string | null;
  startedAt: Date;
  renewedAt: Date;
  /** The batch that renewed it last. */
  batch?: string;
  /** From when on no lock depends on it: nobody holds or keeps the key, and the clock has passed the token and the tick. Absent while it is held or paused. For the TTL index. */
  freeSince?: Date;
  /** The tick of the last run of a key that runs once per tick. */
  tick?: Date;
  /**
   * The tick that was recorded before, if the last grant ignored it: it lay too far ahead of
   * the clock.
   */
  ignored?: Date;
  /** Nobody gets the key. */
  paused?: true;
  last?: { label: string | null; startedAt: Date; endedAt: Date; outcome: LockOutcome };
  /** How often it was tied to a transaction: what that changes. */
  guards?: number;
}

/** What is read of a document. The owner is not: that id is a capability, and stays in the database. */
export interface LockView extends Pick<
  LockDocument,
  '_id' | 'label' | 'startedAt' | 'renewedAt' | 'expiresAt' | 'tick' | 'paused' | 'last'
> {
  /** As the client's options have it: a number, a bigint or a Long. */
  token: unknown;
  owned: boolean;
  /** The database's clock when it answered. */
  now: Date;
}

export const VIEW = {
  label: 1,
  token: 1,
  startedAt: 1,
  renewedAt: 1,
  expiresAt: 1,
  tick: 1,
  paused: 1,
  last: 1,
  owned: { $ne: [{ $ifNull: ['$owner', null] }, null] },
  now: '$$NOW',
} as const;

/** Whether a document is one of ours; others are neither read nor changed. */
export function isLock({ attempt }: { attempt?: unknown }): boolean {
  return typeof attempt === 'string';
}

/** The answer to an attempt that was not granted. */
export function refusalOf(view: LockView, terms: Conditions): LockAcquireResult {
  const reason = refusalReason(terms, {
    now: view.now.getTime(),
    owned: view.owned,
    expiresAt: view.expiresAt.getTime(),
    renewedAt: view.renewedAt.getTime(),
    paused: view.paused === true,
    lastTick: view.tick?.getTime() ?? null,
  });
  // A holder whose lease has run out tells nothing: someone is taking it over right now.
  if (reason === undefined) return { acquired: false, reason: 'contention' };
  return reason === 'held'
    ? { acquired: false, reason, holder: recordOf(view) }
    : { acquired: false, reason };
}

function isHeld({ expiresAt, now }: LockView): boolean {
  return expiresAt > now;
}

export function recordOf(view: LockView): LockRecord {
  const endless = view.expiresAt.getTime() === NEVER.getTime();
  return {
    key: view._id,
    label: view.label,
    fencingToken: Number(view.token),
    startedAt: view.startedAt,
    renewedAt: view.renewedAt,
    expiresAt: endless ? null : view.expiresAt,
    remaining: endless ? Infinity : view.expiresAt.getTime() - view.now.getTime(),
  };
}

export function inspectionOf(key: string, view: LockView | null): LockInspection {
  const history = view && historyOf(view);
  if (!view || (!isHeld(view) && !view.owned)) return { state: 'free', key, ...history };
  return { state: isHeld(view) ? 'held' : 'expired', key, holder: recordOf(view), ...history };
}

function historyOf({ last, tick, paused }: LockView): LockHistory {
  return {
    ...(last && { lastRun: runOf(last) }),
    ...(tick && { lastTick: tick }),
    ...(paused && { paused }),
  };
}

function runOf({ label, startedAt, endedAt, outcome }: NonNullable<LockDocument['last']>): LockRun {
  return { label, startedAt, endedAt, outcome };
}
