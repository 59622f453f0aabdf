import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from './clock.js';

/**
 * How many keys are remembered: at least this number of the keys used last, and at most twice
 * as many.
 */
const REMEMBERED = 10_000;

/**
 * Milliseconds. If the last local token is ahead of this machine's clock by less than this,
 * enable() waits until the clock has passed it. A token further ahead was made from a token of
 * the store: the store's clock is then ahead, too, so its next tokens are greater without a
 * wait.
 */
const TOKENS_AHEAD = 1_000;

interface KnownKey {
  /** The greatest token of the key that this process has seen. */
  fencingToken: number;
  /** Milliseconds from the grant to the release of the last run that has ended. */
  took: number | undefined;
}

/**
 * Remembers the keys that this process used last. From them it makes fencing tokens while
 * locking is disabled, and estimates how long a holder will keep its lock.
 */
export class KnownKeys {
  readonly #keys = new RecentMap<KnownKey>();
  /**
   * How long the last run of each decorated method took. The runs of one method take about as
   * long, so this is an estimate for keys that this process has not used before.
   */
  readonly #jobs = new RecentMap<number>();
  #lastLocalToken = 0;

  /** Notes a token that was granted. */
  granted(key: string, fencingToken: number): void {
    const known = this.#keys.get(key);
    if (!known) this.#keys.set(key, { fencingToken, took: undefined });
    else if (fencingToken > known.fencingToken) known.fencingToken = fencingToken;
  }

  /** Notes how many milliseconds a run took. */
  ended(key: string, job: string | undefined, took: number): void {
    const known = this.#keys.get(key);
    if (known) known.took = took;
    if (job !== undefined) this.#jobs.set(job, took);
  }

  /**
   * Milliseconds that the last run of the key took in this process, or else the last run of
   * the method; `undefined` if neither the key nor the method had a run.
   */
  took(key: string, job: string | undefined): number | undefined {
    return this.#keys.get(key)?.took ?? (job === undefined ? undefined : this.#jobs.get(job));
  }

  /**
   * Makes a token without the store. It is greater than each token of the key that this
   * process has seen.
   *
   * @param now epoch milliseconds
   */
  makeLocalToken(key: string, now: number): number {
    const token = Math.max(now * 1_000, (this.#keys.get(key)?.fencingToken ?? 0) + 1);
    this.granted(key, token);
    this.#lastLocalToken = Math.max(this.#lastLocalToken, token);
    return token;
  }

  /**
   * While locking is disabled, tokens come from the clock of this machine. Waits until that
   * clock has passed them, so that the next tokens of the store are greater.
   */
  async passLocalTokens(clock: Clock): Promise<void> {
    const ahead = this.#lastLocalToken / 1_000 - clock.date();
    if (ahead < 0 || ahead > TOKENS_AHEAD) return;
    await sleep(Math.floor(ahead) + 1); // a real timer, since `clock` stands still in tests
  }
}

/**
 * A map that forgets the keys that were used longest ago. It forgets half of all keys at once,
 * which is far cheaper than forgetting one key at a time.
 */
class RecentMap<Value> {
  #young = new Map<string, Value>();
  #old = new Map<string, Value>();

  /**
   * Returns the value of a key. The key then counts as just used, so it is forgotten later.
   */
  get(key: string): Value | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, value: Value): void {
    this.#young.set(key, value);
    if (this.#young.size <= REMEMBERED) return;
    this.#old = this.#young;
    this.#young = new Map();
  }
}
