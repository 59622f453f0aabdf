import { EventEmitter, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { now } from '../torture/terms.mjs';

const majority = { writeConcern: { w: 'majority', journal: true } };
const fromPrimary = { readConcern: { level: 'linearizable' }, maxTimeMS: 5_000 };

/**
 * The ways to add an entry to a ledger. A ledger is a document that is read, changed and
 * written back as a whole, so two concurrent writers lose an entry. Each way resolves to
 * whether the entry was added, and calls `sending` before the first request that may add the
 * entry.
 */
const ways = {
  /** Checks the lock just before the write. Nothing but this check prevents a late write. */
  async plain(ledgers, _id, entry, lock, sending) {
    const ledger = await ledgers.findOne({ _id }, fromPrimary);
    lock.assertHeld();
    sending();
    const { matchedCount } = await ledgers.updateOne({ _id }, extended(ledger, entry), majority);
    return matchedCount === 1;
  },
  /**
   * Stores its fencing token in the ledger, and writes only if no newer token has been stored.
   */
  async fenced(ledgers, _id, entry, lock, sending) {
    const { token } = entry;
    const claim = { returnDocument: 'after', ...majority };
    const ledger = await ledgers.findOneAndUpdate({ _id, token: { $lt: token } }, { $set: { token } }, claim);
    if (!ledger) return false;
    sending();
    const { matchedCount } = await ledgers.updateOne({ _id, token }, extended(ledger, entry), majority);
    return matchedCount === 1;
  },
  /** Writes in lock.transaction(), which commits only while the lock is held. */
  async transaction(ledgers, _id, entry, lock, sending) {
    await lock.transaction(async (session) => {
      const ledger = await ledgers.findOne({ _id }, { session });
      sending();
      await ledgers.updateOne({ _id }, extended(ledger, entry), { session });
    });
    return true;
  },
};

const extended = ({ value, entries }, entry) => ({
  $set: { value: value + 1, entries: [...entries, entry] },
});

/**
 * Takes the lock and adds entries repeatedly. Its report shows whether two workers ever held
 * the lock at once.
 */
export class LedgerWork {
  #progress = new EventEmitter().setMaxListeners(0);
  #ended = true;
  #running;
  #report;
  #sent = [];

  constructor(locks, ledgers, worker) {
    this.locks = locks;
    this.ledgers = ledgers;
    this.worker = worker;
    for (const event of ['storeError', 'renewFailed'])
      locks.events.on(event, ({ error }) => this.#tally(`${event} (${error.cause?.name ?? 'no answer'})`));
  }

  /**
   * @param probing whether to acquire also keys that no other worker wants, with one attempt
   * each
   * @param pause approximate milliseconds between a release and the next acquisition; without
   * a pause, the last holder would be the first to acquire the key again
   */
  start({ run, way, probing, pause }) {
    this.#report = { worker: this.worker, holds: [], writes: [], probes: {}, errors: {} };
    this.#sent = [];
    this.#ended = false;
    const counting = this.#repeat(pause, (id) => this.#count(run, way, id));
    this.#running = Promise.all([
      counting,
      probing && this.#repeat(pause, (id) => this.#probe(`${run}-${id}`)),
    ]);
  }

  /** Waits until this number of further entries was acknowledged. */
  async counted(times) {
    for (let i = 0; i < times; i++) await once(this.#progress, 'counted');
  }

  /** Ends the work, waits for all requests under way, and resolves to the report. */
  async end() {
    this.#ended = true;
    await this.#running;
    await Promise.allSettled(this.#sent);
    return this.#report;
  }

  async #repeat(pause, work) {
    for (let n = 1; !this.#ended; n++) {
      await work(`${this.worker}-${n}`);
      await sleep(pause * (0.5 + Math.random()));
    }
  }

  async #count(run, way, id) {
    try {
      await this.locks.run(`${run}-ledgers`, (lock) => this.#hold(lock, `${run}-${way}`, ways[way], id), {
        wait: Infinity,
      });
    } catch (error) {
      this.#tally(`run (${error.name})`);
    }
  }

  async #hold(lock, ledger, way, id) {
    const hold = { token: lock.fencingToken, from: now(), until: 0 };
    // The clock has to be read before `held`. If the process is suspended between the two
    // reads, `until` then stays before the suspension.
    const look = () => {
      const moment = now();
      if (lock.held) hold.until = moment;
    };
    look();
    this.#report.holds.push(hold);
    const write = { id, outcome: 'none' };
    this.#report.writes.push(write);
    const looking = setInterval(look, 5);
    try {
      const sending = () => {
        look();
        write.outcome = 'unknown';
      };
      const working = way(this.ledgers, ledger, { id, token: lock.fencingToken }, lock, sending);
      this.#sent.push(working);
      // A request to a frozen server hangs for minutes, so a worker that has lost its lock
      // does not wait for the answer.
      const made = await Promise.race([working, lossOf(lock)]);
      write.outcome = made ? 'acknowledged' : 'refused';
      if (made) this.#progress.emit('counted');
    } finally {
      clearInterval(looking);
      look();
    }
  }

  async #probe(key) {
    const answer = await this.locks.acquire(key).catch((error) => error);
    const { name } = answer instanceof Error ? answer : { name: 'acquired' };
    this.#report.probes[name] = (this.#report.probes[name] ?? 0) + 1;
    if (name === 'acquired') await answer.release().catch((error) => this.#tally(`release (${error.name})`));
  }

  #tally(what) {
    if (this.#report) this.#report.errors[what] = (this.#report.errors[what] ?? 0) + 1;
  }
}

function lossOf({ signal }) {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
