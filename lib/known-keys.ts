/** How many keys are remembered: those that were used last. */
const REMEMBERED = 10_000;

interface KnownKey {
  fencingToken: number;
  /** Milliseconds from the grant to the release of the last run that has ended. */
  took: number | undefined;
}

/**
 * What this process remembers of the keys that it used last: it makes up fencing tokens from that while locking is
 * disabled, and estimates how long a holder will take.
 */
export class KnownKeys {
  readonly #keys = new Map<string, KnownKey>();
  /** By decorated method, for keys that this process has not used: the runs of one method take about as long. */
  readonly #jobs = new Map<string, number>();
  #madeUp = 0;

  /** Notes a token that was granted. */
  granted(key: string, fencingToken: number): void {
    const known = this.#keys.get(key);
    this.#keys.delete(key); // the map keeps the order in which keys were used
    const last = Math.max(fencingToken, known?.fencingToken ?? 0);
    this.#keys.set(key, { fencingToken: last, took: known?.took });
    forgetOldest(this.#keys);
  }

  /** Notes how many milliseconds a run took. */
  ended(key: string, job: string | undefined, took: number): void {
    const known = this.#keys.get(key);
    if (known) known.took = took;
    if (job === undefined) return;
    this.#jobs.set(job, took);
    forgetOldest(this.#jobs);
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

function forgetOldest(map: Map<string, unknown>): void {
  if (map.size <= REMEMBERED) return;
  for (const key of map.keys()) {
    map.delete(key);
    return;
  }
}
