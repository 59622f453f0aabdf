import type { MemoryLockStore } from '../../lib/stores/memory/memory-lock.store.js';
import { RightStore, type Port } from '../stores/conformance-planted-bugs.js';
import type { SimulatedProcess } from './simulated-process.js';
import { SimulatedTransaction } from './simulated-transaction.js';
import type { World } from './world.js';

/** The client of a request, as far as a database sees it. */
export interface Client {
  /** The client's wall clock. */
  date(): number;
}

/** A deliberate bug of a store. */
export interface StoreBug {
  /**
   * The changed methods. `meanwhile` resolves after other requests may have been carried out.
   */
  plant?: (right: RightStore, meanwhile: () => Promise<void>) => Partial<Port>;
  /** The clock that this store reads. */
  clock?: (client: Client) => number;
}

/** A request that a restart of the database interrupts. */
export interface InFlight {
  breakOff(): void;
}

const EPOCH = Date.UTC(2026, 10, 20);

/** The one database of all processes, with a clock of its own. Its data survive a restart. */
export class SimulatedDatabase {
  readonly store: RightStore;
  readonly inFlight = new Set<InFlight>();
  readonly rows: RowLocks;
  /** The guarded keys of open transactions, each with the end of its transaction. */
  readonly guarded = new Map<string, Promise<void>>();
  readonly #transactions = new Set<SimulatedTransaction>();
  readonly #operations: Port;
  #client: Client | undefined;
  /** The number of restarts. */
  restarts = 0;
  #ahead = 0;
  #down = false;

  constructor(
    private readonly world: World,
    bug: StoreBug = {},
  ) {
    const { clock } = bug;
    this.rows = new RowLocks(world);
    this.store = new RightStore({
      now: () => (clock && this.#client ? clock(this.#client) : this.#date),
    });
    const meanwhile = (): Promise<void> =>
      new Promise((resolve) => world.timeline.in(world.random.between(1, 60), resolve));
    this.#operations = { ...operationsOf(this.store), ...bug.plant?.(this.store, meanwhile) };
  }

  get #date(): number {
    return EPOCH + this.world.timeline.now + this.#ahead;
  }

  get down(): boolean {
    return this.#down;
  }

  /** The operations of the database for this client. */
  operationsFor(client: Client): Port {
    this.#client = client;
    return this.#operations;
  }

  /** Whether a lease of the key is valid by the database's clock. */
  isHeld(key: string): boolean {
    return this.isAhead(this.endOf(key));
  }

  /** The owner of the key, now or last. */
  ownerOf(key: string): string | undefined {
    return this.store['entries'].get(key)?.owner ?? undefined;
  }

  /** Whether this owner has a valid lease of the key, with this token if one is given. */
  holds(key: string, owner: string, token?: number): boolean {
    const lease = this.store['entries'].get(key);
    return (
      lease?.owner === owner && lease.expiresAt > this.#date && (token === undefined || lease.token === token)
    );
  }

  begin(process: SimulatedProcess): SimulatedTransaction {
    const transaction = new SimulatedTransaction(this.world, this, process);
    this.#transactions.add(transaction);
    return transaction;
  }

  /**
   * Rolls back the transactions of a process that is gone; without a process, all
   * transactions.
   */
  rollBack(process?: SimulatedProcess): void {
    for (const transaction of this.#transactions) {
      if (process && transaction.process !== process) continue;
      transaction.end();
      this.#transactions.delete(transaction);
    }
  }

  /** Resolves when no transaction guards any of the keys. */
  async unguarded(...keys: readonly string[]): Promise<void> {
    for (;;) {
      const guarded = keys.find((key) => this.guarded.has(key));
      if (guarded === undefined) return;
      await this.guarded.get(guarded);
    }
  }

  /** The end of the key's lease by the database's clock. */
  endOf(key: string): number {
    return this.store['entries'].get(key)?.expiresAt ?? 0;
  }

  /** Whether this time of the database's clock is in the future. */
  isAhead(moment: number): boolean {
    return moment > this.#date;
  }

  /** Sets how far the database's clock is ahead from now on. */
  setClock(ahead: number): void {
    this.#ahead = ahead;
  }

  restart(downtime: number): void {
    this.restarts++;
    this.#down = true;
    for (const request of this.inFlight) request.breakOff();
    this.inFlight.clear();
    this.rollBack();
    this.world.timeline.in(downtime, () => {
      this.#down = false;
      this.world.story?.tell('database', 'is up again');
    });
  }
}

/**
 * The rows that batch statements have locked. A statement locks its rows one after the other
 * and waits for rows of other statements.
 */
export class RowLocks {
  readonly #holders = new Map<string, RowLocker>();

  constructor(private readonly world: World) {}

  /**
   * Resolves to a function that unlocks the rows after all of them are locked. A deadlock of
   * two statements is a violation, since a database would end one of them.
   */
  async lock(keys: readonly string[]): Promise<() => void> {
    const { world } = this;
    const locker = new RowLocker();
    for (const key of keys) {
      for (let holder = this.#holders.get(key); holder; holder = this.#holders.get(key)) {
        locker.waitsFor = holder;
        if (locker.waitsForItself()) {
          world.violate('two batches lock the same rows in two orders: a deadlock');
          break;
        }
        await holder.done;
      }
      locker.waitsFor = undefined;
      this.#holders.set(key, locker);
      await new Promise<void>((resolve) => world.timeline.in(world.random.below(3), resolve));
    }
    return () => {
      for (const key of keys) if (this.#holders.get(key) === locker) this.#holders.delete(key);
      locker.end();
    };
  }
}

class RowLocker {
  waitsFor: RowLocker | undefined;
  end: () => void = () => {};
  readonly done = new Promise<void>((resolve) => (this.end = resolve));

  waitsForItself(): boolean {
    let other = this.waitsFor;
    while (other && other !== this) other = other.waitsFor;
    return other === this;
  }
}

/** The operations of a sound store, some of which a bug replaces. */
export function operationsOf(store: MemoryLockStore): Port {
  return {
    acquire: store.acquire.bind(store),
    renew: store.renew.bind(store),
    release: store.release.bind(store),
    releaseToWaiter: store.releaseToWaiter.bind(store),
    renewMany: store.renewMany.bind(store),
    inspect: store.inspect.bind(store),
    list: store.list.bind(store),
    forceRelease: store.forceRelease.bind(store),
    purge: store.purge.bind(store),
    pause: store.pause.bind(store),
    resume: store.resume.bind(store),
  };
}
