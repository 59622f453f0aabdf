import { setTimeout as sleep } from 'node:timers/promises';
import { Belief } from './belief.mjs';
import { describeFailure, permanenceOf } from './failure.mjs';
import { CROWD_TTL, KEYS, now, TTL, WAIT } from './terms.mjs';

/**
 * Milliseconds between the check and the write of a worker, which give the torturer time to
 * freeze the worker in between.
 */
const EXPOSURE = 25;
/**
 * Milliseconds after which a worker no longer waits for the answer to a write, so that the
 * outcome counts as unknown.
 */
const PATIENCE = 4_000;

/**
 * Takes locks and writes under them repeatedly. Its records show whether two workers ever held
 * a lock at once.
 */
export class Work {
  #stop = new AbortController();
  #count = 0;

  constructor({ locks, ledger, record, bug, id }) {
    Object.assign(this, { locks, ledger, record, bug, id });
    locks.events.on('lost', ({ key, fencingToken }) => record.add('lost', { key, token: fencingToken }));
    for (const event of ['storeError', 'renewFailed'])
      locks.events.on(event, ({ error }) =>
        record.add('trouble', { what: event, error: error.message, ...permanenceOf(error) }),
      );
  }

  async repeat() {
    while (!this.#stop.signal.aborted) {
      await this.#turn();
      // Without this pause, the last holder would always be the first to acquire the key
      // again.
      await sleep(Math.random() * 60, undefined, { signal: this.#stop.signal }).catch(() => {});
    }
  }

  end() {
    this.#stop.abort(new Error('told to end'));
  }

  answer({ order }) {
    if (order === 'freeze') this.#freeze();
    else if (order === 'probe') void this.#probe();
    else if (order === 'leave dirty') void this.#leaveDirty();
  }

  async #turn() {
    const key = KEYS[Math.floor(Math.random() * KEYS.length)];
    const id = `${this.id}-${++this.#count}`;
    this.record.add('want', { id, key });
    try {
      const lock = await this.locks.acquire(key, { wait: WAIT, signal: this.#stop.signal });
      await this.#hold(id, lock);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.record.add('missed', { id, key, ...describeFailure(error) });
    }
  }

  async #hold(id, lock) {
    const belief = new Belief(id, lock, this.record, this.bug);
    try {
      await this.#writeUnder(id, lock, belief);
    } finally {
      belief.end();
      this.record.add('release', { id });
      await lock.release().then(
        (released) => this.record.add('released', { id, released }),
        (error) => this.record.add('released', { id, ...describeFailure(error) }),
      );
    }
  }

  /**
   * Writes to two counters: only the lock protects one of them, and a fence protects the
   * other.
   */
  async #writeUnder(id, lock, belief) {
    const { key, fencingToken: token } = lock;
    // The claim has to come before the read: after the claim, no worker with an older token
    // can change the value.
    const claim = { id: `${id}c`, key, token };
    const claimed = await this.#send(belief, 'claim', claim, () => this.ledger.claim(claim));
    const fencedValue = claimed && (await this.#read(() => this.ledger.read(key, 'fenced')));
    const plainValue = await this.#read(() => this.ledger.read(key, 'plain'));
    await sleep(workTime());

    if (plainValue !== undefined && belief.look()) {
      const write = { id: `${id}p`, key, token, value: plainValue + 1 };
      // The write is sent immediately after the check, so only a stop of the process can come
      // between them.
      await this.#send(belief, 'plain', write, () => (belief.held ? this.ledger.write(write) : undefined));
    }
    await sleep(workTime());
    if (fencedValue === undefined) return;

    if (belief.look()) {
      process.send({ event: 'between', key, token });
      await sleep(EXPOSURE);
    }
    // The lock is not checked before this write, since the fence has to refuse a late write.
    const write = { id: `${id}f`, key, token, value: fencedValue + 1 };
    await this.#send(belief, 'fenced', write, () => this.ledger.writeFenced(write));
  }

  /** @returns whether the write was accepted; `undefined` if the outcome is unknown */
  async #send(belief, kind, write, carryOut) {
    const { id, key, token, value } = write;
    this.record.add('write', { id, hold: belief.id, kind, key, token, value }, now());
    const answer = await settled(carryOut());
    const outcome =
      { true: 'accepted', false: 'refused' }[answer.value] ?? (answer.error ? 'unknown' : 'unsent');
    this.record.add('answer', { id, outcome, ...(answer.error && { error: answer.error.message }) });
    return outcome === 'accepted' || undefined;
  }

  async #read(read) {
    return (await settled(read())).value;
  }

  /**
   * Lets the process stop itself between two turns of its event loop, so it never stops inside
   * a call of SQLite.
   */
  #freeze() {
    process.kill(process.pid, 'SIGSTOP');
    process.send({ event: 'thawed' });
  }

  /**
   * Leaves connections of the pool in open transactions. The ledger is not affected, because
   * it cleans each connection before use.
   */
  async #leaveDirty() {
    const left = await settled(this.ledger.leaveDirty());
    process.send({ event: 'left dirty', left: left.value ?? 0 });
  }

  /** Checks that this worker can take a key that no other worker wants. */
  async #probe() {
    const key = `probe-${this.id}`;
    try {
      // The ttl is longer than that of other locks, so that requests have enough time on a
      // machine that crowds keep busy.
      const lock = await this.locks.acquire(key, { wait: WAIT, ttl: CROWD_TTL });
      const held = lock.held;
      const released = await lock.release();
      process.send({ event: 'probed', well: held && released });
    } catch (error) {
      process.send({ event: 'probed', well: false, ...describeFailure(error) });
    }
  }
}

/**
 * Draws how long a step of the work takes: mostly a few milliseconds, sometimes longer than
 * the ttl, so that the lock needs renewals.
 */
function workTime() {
  return Math.random() < 0.85 ? 5 + Math.random() * 70 : Math.random() * 1.5 * TTL;
}

async function settled(work) {
  const patience = new AbortController();
  const late = sleep(
    PATIENCE,
    { error: new Error(`no answer within ${PATIENCE} ms`) },
    { signal: patience.signal },
  );
  late.catch(() => {}); // This promise rejects with an AbortError if the answer came in time.
  const answered = Promise.resolve(work).then(
    (value) => ({ value }),
    (error) => ({ error }),
  );
  try {
    return await Promise.race([answered, late]);
  } finally {
    patience.abort();
  }
}
