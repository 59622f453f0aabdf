import { setTimeout as sleep } from 'node:timers/promises';
import { Belief } from './belief.mjs';
import { describeFailure } from './failure.mjs';
import { CROWD_TTL } from './terms.mjs';

/**
 * Milliseconds between two rushes of one process. In a rush, all its callers want a lock at
 * once.
 */
const PAUSE = 600;
/** Milliseconds between two checks of `held` by the caller that has the lock. */
const PACE = 50;
/** Milliseconds that the patient callers wait for a key. All other callers try only once. */
const WAIT = 400;

/**
 * Many callers of one process that want different keys at the same time, so their requests
 * share statements. All processes want the same keys. The callers write no data: the times of
 * their holds and their tokens show whether each caller got the answer to its own request.
 */
export class Crowd {
  #stop = new AbortController();
  #count = 0;

  /** @param options `callers`: the number of callers */
  constructor({ locks, record, bug, id, callers }) {
    Object.assign(this, { locks, record, bug, id, callers });
  }

  async repeat() {
    while (this.callers > 0 && !this.#stop.signal.aborted) {
      const first = Math.floor(Math.random() * this.callers);
      await Promise.all(Array.from({ length: this.callers }, (_, i) => this.#turn(first + i)));
      await sleep(Math.random() * PAUSE, undefined, { signal: this.#stop.signal }).catch(() => {});
    }
  }

  end() {
    this.#stop.abort(new Error('told to end'));
  }

  async #turn(place) {
    const id = `${this.id}-crowd-${++this.#count}`;
    // A few callers want the key of another caller, and a few abort their request while it is
    // under way.
    const number = (Math.random() < 0.9 ? place : Math.floor(Math.random() * this.callers)) % this.callers;
    const key = `crowd-${number}`;
    const signals = [this.#stop.signal];
    if (Math.random() < 0.1) signals.push(AbortSignal.timeout(Math.floor(Math.random() * 20)));
    const signal = AbortSignal.any(signals);
    const wait = Math.random() < 0.3 ? WAIT : 0;
    try {
      const lock = await this.locks.acquire(key, { wait, signal, ttl: CROWD_TTL });
      await this.#hold(id, lock);
    } catch (error) {
      if (signal.aborted) return;
      this.record.add('missed', { id, key, ...describeFailure(error) });
    }
  }

  async #hold(id, lock) {
    const belief = new Belief(id, lock, this.record, this.bug, PACE);
    try {
      await sleep(holdTime());
    } finally {
      belief.end();
      this.record.add('release', { id });
      await lock.release().then(
        (released) => this.record.add('released', { id, released }),
        (error) => this.record.add('released', { id, ...describeFailure(error) }),
      );
    }
  }
}

/**
 * Draws how long a caller holds its lock: mostly a short time, and sometimes so many
 * milliseconds that the lock needs renewals.
 */
function holdTime() {
  return Math.random() < 0.995 ? Math.random() * 20 : Math.random() * (CROWD_TTL / 2);
}
