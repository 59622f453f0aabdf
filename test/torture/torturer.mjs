import { setTimeout as sleep } from 'node:timers/promises';
import { deckFor, FAULTS, PROVING } from './faults.mjs';
import { now } from './terms.mjs';

const LONGEST_PAUSE = 1_200;
/**
 * If a run has refused no stale write, the fault that causes stale writes is repeated up to
 * this many times.
 */
const EXTRA = 5;

/**
 * Applies faults to the workers, their links and the server, in an order that depends only on
 * the seed.
 */
export class Torturer {
  /** All faults so far: `{ kind, from, until, text }`. */
  faults = [];
  /** All keys that a worker held when it was killed: `{ worker, key, token, at }`. */
  kills = [];
  /** The number of schedules (shuffled decks of all faults) that have begun. */
  schedules = 0;
  #active = new Set();
  #onServer = Promise.resolve();
  #ended = new AbortController();
  #failure;

  /** @param options `only`: the kinds of faults to apply, by default all */
  constructor({ system, workers, history, hub, random, short, only }) {
    Object.assign(this, { system, workers, history, hub, random, short, only });
  }

  /**
   * @param rounds the number of schedules; after these, the torture goes on only until a stale
   * write was refused
   */
  async torture(rounds = Infinity) {
    let deck = [];
    let extra = EXTRA;
    while (!this.#ended.signal.aborted) {
      if (deck.length === 0 && this.schedules < rounds) {
        deck = this.random.shuffled(deckFor(this.system, this));
        this.schedules++;
      } else if (deck.length === 0) {
        await Promise.all(this.#active);
        this.history.read();
        if (this.history.counts.refused > 0 || extra-- === 0) break;
        deck = [PROVING];
      }
      const kind = deck.pop();
      if (FAULTS[kind].alone) {
        await Promise.all(this.#active);
        if (!this.#ended.signal.aborted) await this.#strike(kind);
      } else {
        const striking = this.#strike(kind);
        this.#active.add(striking);
        void striking.then(() => this.#active.delete(striking));
      }
      const pause = this.random.between(0, this.short ? LONGEST_PAUSE / 2 : LONGEST_PAUSE);
      await sleep(pause, undefined, { signal: this.#ended.signal }).catch(() => {});
    }
    await Promise.all(this.#active);
    this.end();
    if (this.#failure) throw this.#failure;
  }

  get ended() {
    return this.#ended.signal.aborted;
  }

  /** Ends the torture as soon as the faults under way are repaired. */
  end() {
    this.#ended.abort();
  }

  /** The kinds of the faults that are under way. */
  get present() {
    return this.faults.filter(({ until }) => until === Infinity).map(({ kind }) => kind);
  }

  async #strike(kind) {
    const { strike, onServer } = FAULTS[kind];
    if (onServer) {
      // Faults of the server are applied one after the other, since a server that is down
      // could not end sessions.
      this.#onServer = this.#onServer.then(() => this.#carryOut(kind, strike));
      await this.#onServer;
    } else await this.#carryOut(kind, strike);
  }

  async #carryOut(kind, strike) {
    const fault = { kind, from: now(), until: Infinity };
    this.faults.push(fault);
    try {
      fault.text = await strike(this.#means());
    } catch (error) {
      // A fault rejects if the damage cannot be repaired, for example if a server does not
      // come back.
      this.#failure ??= error;
      this.end();
    }
    fault.until = now();
    if (fault.text === undefined) this.faults.splice(this.faults.indexOf(fault), 1);
  }

  #means() {
    const { system, history, hub, random } = this;
    const live = () => this.workers.filter(({ state }) => state === 'running');
    const holding = () => {
      history.read();
      const at = now();
      return live().filter(({ id }) => history.heldBy(id, at).length > 0);
    };
    /** Picks a worker that holds a lock. Waits up to half a second for such a worker. */
    const holder = async () => {
      for (let tries = 0; tries < 20; tries++) {
        const found = holding();
        if (found.length > 0) return random.pick(found);
        await sleep(25);
      }
      return undefined;
    };
    return {
      system,
      history,
      hub,
      random,
      live,
      holder,
      some: () => this.#some(live, holder),
      kill: (worker) => this.#kill(worker),
    };
  }

  /**
   * Picks the workers for a fault: mostly one, often the holder of a lock; sometimes half of
   * the workers or all.
   */
  async #some(live, holder) {
    const { random } = this;
    const share = random.next();
    const one = share < 0.6;
    const found = one && random.chance(0.6) ? await holder() : undefined;
    if (found) return [found];
    const all = random.shuffled(live());
    return one ? all.slice(0, 1) : share < 0.85 ? all.slice(0, Math.ceil(all.length / 2)) : all;
  }

  #kill(worker) {
    const { id } = worker;
    const at = worker.kill();
    this.history.read();
    const held = this.history.heldBy(id, at);
    for (const { key, token } of held) this.kills.push({ worker: id, key, token, at });
    return held;
  }
}
