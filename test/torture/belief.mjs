import { now } from './terms.mjs';

/** Milliseconds between two checks of `held`. */
const PACE = 10;

/**
 * Records the time during which `held` of a lock was true, so that the worker believed that it
 * held the lock.
 *
 * The clock is read before each check, so the recorded time stays before the suspension if the
 * process is suspended between the two.
 */
export class Belief {
  #lock;
  #record;
  #bug;
  #doubted = false;
  #looking;

  constructor(id, lock, record, bug, pace = PACE) {
    this.id = id;
    this.#lock = lock;
    this.#record = record;
    this.#bug = bug;
    const at = now();
    const { key, fencingToken: token } = lock;
    record.add('hold', { id, key, token, held: this.held }, at);
    this.#looking = setInterval(() => this.look(), pace);
  }

  get held() {
    return this.#bug.isHeld ? this.#bug.isHeld(this.#lock) : this.#lock.held;
  }

  look() {
    const at = now();
    const held = this.held;
    if (held) this.#record.add(this.#doubted ? 'revived' : 'held', { id: this.id }, at);
    this.#doubted = !held;
    return held;
  }

  end() {
    clearInterval(this.#looking);
    this.look();
  }
}
