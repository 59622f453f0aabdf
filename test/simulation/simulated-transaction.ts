import type { Lock } from '../../lib/lock.js';
import { linkBroken } from './delivery.js';
import type { SimulatedDatabase } from './simulated-database.js';
import type { SimulatedProcess } from './simulated-process.js';
import type { World } from './world.js';

/**
 * A transaction of the database. Other requests for a key that the transaction guards wait
 * until it has ended.
 */
export class SimulatedTransaction {
  /** The locks under which this transaction has written. */
  readonly writtenUnder = new Set<Lock>();
  #ended = false;
  #end: () => void = () => {};
  readonly #whenEnded = new Promise<void>((resolve) => (this.#end = resolve));

  constructor(
    private readonly world: World,
    private readonly database: SimulatedDatabase,
    readonly process: SimulatedProcess,
  ) {}

  guard(key: string, owner: string, fencingToken: number): boolean {
    this.#mustBeOpen();
    if (!this.database.holds(key, owner, fencingToken)) return false;
    this.database.guarded.set(key, this.#whenEnded);
    void this.#whenEnded.then(() => this.database.guarded.delete(key));
    return true;
  }

  commit(): void {
    this.#mustBeOpen();
    for (const { key, owner } of this.writtenUnder)
      if (this.database.ownerOf(key) !== owner)
        this.world.violate(`${this.process.name} commits what it wrote under ${key}, which it has lost`);
    this.end();
  }

  /** Ends the transaction without a commit, unless it was committed before. */
  end(): void {
    this.#ended = true;
    this.#end();
  }

  #mustBeOpen(): void {
    if (this.#ended) throw linkBroken();
  }
}
