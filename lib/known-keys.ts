/** How many keys are remembered at least: those that were used last. At most twice as many are. */
const REMEMBERED = 10_000;

interface KnownKey {
  /** The greatest that was seen. */
  fencingToken: number;
  /** Milliseconds from the grant to the release of the last run that has ended. */
  took: number | undefined;
}

/**
 * What this process remembers of the keys that it used last: it makes up fencing tokens from that while locking is
 * disabled, and estimates how long a holder will take.
 */
export class KnownKeys {
  readonly #keys = new RecentMap<KnownKey>();
  /** By decorated method, for keys that this process has not used: the runs of one method take about as long. */
  readonly #jobs = new RecentMap<number>();
  #madeUp = 0;

  /** Notes a token that was granted. */
  granted(key: string, fencingToken: number): void {
    const known = this.#keys.get(key) ?? { fencingToken, took: undefined };
    known.fencingToken = Math.max(fencingToken, known.fencingToken);
    this.#keys.set(key, known);
  }

  /** Notes how many milliseconds a run took. */
  ended(key: string, job: string | undefined, took: number): void {
    const known = this.#keys.get(key);
    if (known) known.took = took;
    if (job !== undefined) this.#jobs.set(job, took);
  }

  /** Milliseconds that the last run of the key took, or else the last run of the method; `undefined` before the first. */
  took(key: string, job: string | undefined): number | undefined {
    return this.#keys.get(key)?.took ?? (job === undefined ? undefined : this.#jobs.get(job));
  }

  /**
   * Makes up a token that is greater than each that this process has seen of the key.
   *
   * @param now epoch milliseconds
   */
  makeUpToken(key: string, now: number): number {
    const token = Math.max(now * 1_000, (this.#keys.get(key)?.fencingToken ?? 0) + 1);
    this.granted(key, token);
    this.#madeUp = Math.max(this.#madeUp, token);
    return token;
  }

  /** The greatest token that was made up. */
  get madeUp(): number {
    return this.#madeUp;
  }
}

/** A map that forgets what was set longest ago. To forget a whole map at once is far cheaper than one key after the other. */
class RecentMap<Value> {
  #young = new Map<string, Value>();
  #old = new Map<string, Value>();

  get(key: string): Value | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  set(key: string, value: Value): void {
    this.#young.set(key, value);
    if (this.#young.size <= REMEMBERED) return;
    this.#old = this.#young;
    this.#young = new Map();
  }
}
