import type { Lock } from '../../lib/lock.js';
import { linkBroken } from './delivery.js';
import type { SimulatedDatabase } from './simulated-database.js';
import type { SimulatedProcess } from './simulated-process.js';
import type { World } from './world.js';

/** A transaction of the database: whoever wants a key that is guarded in it waits for its end. */
export class SimulatedTransaction {
  /** The locks under which something was written in it. */
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

  /** With nothing committed, unless it was before. */
  end(): void {
    this.#ended = true;
    this.#end();
  }

  #mustBeOpen(): void {
    if (this.#ended) throw linkBroken();
  }
}
