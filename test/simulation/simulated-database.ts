import type { MemoryLockStore } from '../../lib/stores/memory/memory-lock.store.js';
import { RightStore, type Port } from '../stores/conformance-planted-bugs.js';
import type { SimulatedProcess } from './simulated-process.js';
import { SimulatedTransaction } from './simulated-transaction.js';
import type { World } from './world.js';

/** The process that sends a request. A planted bug lets the store read its clock. */
export interface Client {
  /** The time on the wall clock of the client. */
  date(): number;
}

/** A deliberate bug of the store, which the simulation has to find. */
export interface StoreBug {
  /**
   * Returns the methods that contain the bug. `meanwhile` resolves after a short time in which
   * other requests may be carried out.
   */
  plant?: (right: RightStore, meanwhile: () => Promise<void>) => Partial<Port>;
  /** Returns the time that the store uses instead of the clock of the database. */
  clock?: (client: Client) => number;
}

/** A request under way, which fails if the database restarts. */
export interface InFlight {
  breakOff(): void;
}

const EPOCH = Date.UTC(2026, 10, 20);

/**
 * The database that all processes share. It has its own clock, and keeps its data when it
 * restarts.
 */
export class SimulatedDatabase {
  readonly store: RightStore;
  readonly inFlight = new Set<InFlight>();
  readonly rows: RowLocks;
  /**
   * The keys that open transactions guard. Each promise resolves when the transaction ends.
   */
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

  /** Returns the functions with which a request of this client reads and writes. */
  operationsFor(client: Client): Port {
    this.#client = client;
    return this.#operations;
  }

  /** Returns whether a lease of the key is valid by the clock of the database. */
  isHeld(key: string): boolean {
    return this.isAhead(this.endOf(key));
  }

  /** Returns the owner that holds the key or held it last. */
  ownerOf(key: string): string | undefined {
    return this.store['entries'].get(key)?.owner ?? undefined;
  }

  /**
   * Returns whether this owner has a valid lease of the key, and with this token if a token is
   * given.
   */
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
   * Rolls back all open transactions of this process, or of all processes if none is given.
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

  /** Returns when the lease of the key ends by the clock of the database. */
  endOf(key: string): number {
    return this.store['entries'].get(key)?.expiresAt ?? 0;
  }

  /** Returns whether this time is later than the present time of the database. */
  isAhead(moment: number): boolean {
    return moment > this.#date;
  }

  /** Sets the clock of the database ahead of the true time by these milliseconds. */
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
 * The rows that batch statements have locked. A statement locks its rows one after the other,
 * and waits while another statement has locked a row.
 */
export class RowLocks {
  readonly #holders = new Map<string, RowLocker>();

  constructor(private readonly world: World) {}

  /**
   * Locks the rows of these keys, and resolves to a function that unlocks them. A deadlock of
   * two statements is a violation, since a real database would abort one of the statements.
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

/** Returns the operations of a store without bugs. A planted bug replaces some of them. */
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
