import type { LockRun } from '../../interfaces/lock-record.interface.js';
import { LATEST, type KeyState } from '../shared/key-state.js';

/** `expiresAt` of a lease that never ends: the last moment that a JavaScript date has. */
export const NEVER = new Date(LATEST);

/**
 * `expiresAt` of a free key. It is not the present time: a clock that steps back must not
 * make a released key busy.
 */
export const FREE = new Date(0);

/** A key and its lock, as they are kept in the collection. */
export interface LockDocument {
  _id: string;
  /**
   * The random id of the acquisition. `null` for a key without a holder, also while a
   * release keeps it taken.
   */
  owner: string | null;
  /**
   * The random id of the call that was granted. With the owner alone, a second attempt of
   * the same owner would look like a grant.
   */
  attempt: string;
  token: number;
  expiresAt: Date;
  label: string | null;
  startedAt: Date;
  renewedAt: Date;
  /** The batch that renewed or released it last. */
  batch?: string;
  /**
   * The moment from which on no lock depends on the document, for the TTL index: the key is
   * free, and the clock has passed the token and the tick. Absent while the key is held or
   * paused.
   */
  freeSince?: Date;
  /** The tick of the last run of a key that runs once per tick. */
  tick?: Date;
  /**
   * The tick that was recorded before, if the last grant ignored it: it lay too far ahead of
   * the clock.
   */
  ignored?: Date;
  /** No attempt gets the key. */
  paused?: true;
  last?: LockRun;
  /**
   * How often the lock was tied to a transaction. A guard changes this field, since it has
   * to change the document.
   */
  guards?: number;
}

/**
 * The fields that the store reads. The owner is not among them: that id is a capability, and
 * stays in the database.
 */
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

/** Whether a document is a lock. The store neither reads nor changes other documents. */
export function isLock({ attempt }: { attempt?: unknown }): boolean {
  return typeof attempt === 'string';
}

export function stateOf({ _id: key, token, tick, paused, last, ...view }: LockView): KeyState {
  return {
    key,
    now: view.now.getTime(),
    owned: view.owned,
    token: Number(token),
    label: view.label,
    startedAt: view.startedAt.getTime(),
    renewedAt: view.renewedAt.getTime(),
    expiresAt: view.expiresAt.getTime(),
    lastTick: tick?.getTime() ?? null,
    paused: paused === true,
    ...(last && {
      lastRun: {
        label: last.label,
        startedAt: last.startedAt.getTime(),
        endedAt: last.endedAt.getTime(),
        outcome: last.outcome,
      },
    }),
  };
}
