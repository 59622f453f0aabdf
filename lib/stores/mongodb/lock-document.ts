import type { LockRun } from '../../interfaces/lock-record.interface.js';
import { LATEST, type KeyState } from '../shared/key-state.js';

/** `expiresAt` of a lease that never ends: the last moment that a JavaScript date has. */
export const NEVER = new Date(LATEST);

/**
 * `expiresAt` of a free key. With the present time, a clock that steps back would make a
 * released key busy.
 */
export const FREE = new Date(0);

/** The document of a key in the collection. */
export interface LockDocument {
  _id: string;
  /**
   * The random id of the acquisition. `null` if the key has no holder, even while a release
   * keeps it taken.
   */
  owner: string | null;
  /**
   * The random id of the request that was granted. Without it, a second request of the same
   * owner would look as if it had been granted.
   */
  attempt: string;
  token: number;
  expiresAt: Date;
  label: string | null;
  startedAt: Date;
  renewedAt: Date;
  /** The random id of the batch that renewed or released the lease last. */
  batch?: string;
  /**
   * For the TTL index: the time from which no lock depends on the document, since the key is
   * free and the clock has passed its token and tick. Absent while the key is held or paused.
   */
  freeSince?: Date;
  /** The tick of the last run of a key that runs once per tick. */
  tick?: Date;
  /**
   * The earlier recorded tick, if the last grant ignored it because it lay too far ahead of
   * the clock.
   */
  ignored?: Date;
  /** Set while the key is paused, so that no attempt gets it. */
  paused?: true;
  last?: LockRun;
  /**
   * How often the lock was tied to a transaction. A guard increases this field, since it has
   * to change the document.
   */
  guards?: number;
}

/**
 * The fields that the store reads. The owner id stays in the database, since whoever knows it
 * can release the lock.
 */
export interface LockView extends Pick<
  LockDocument,
  '_id' | 'label' | 'startedAt' | 'renewedAt' | 'expiresAt' | 'tick' | 'paused' | 'last'
> {
  /** A number, a bigint or a Long, depending on the client's options. */
  token: unknown;
  owned: boolean;
  /** The database's clock at the time of the read. */
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
