import type {
  AcquireRequest,
  BatchRenewer,
  LeaseRenewal,
  LockAcquireResult,
  LockInspector,
  WaiterRelease,
  LockStore,
  PurgeRequest,
  ReleaseRequest,
  RenewalOutcome,
  TransactionGuard,
} from '../../lib/interfaces/lock-store.interface.js';
import { LockStoreError } from '../../lib/lock.errors.js';
import { Batcher, type BatchedRequest } from '../../lib/stores/shared/batcher.js';
import { NoAnswerError } from '../../lib/stores/shared/operation-limit.js';
import { Delivery, linkBroken, type Fate, type Request } from './delivery.js';
import type { LinkFault, Operation } from './schedule.js';
import type { Port } from '../stores/conformance-planted-bugs.js';
import { SharedQueue } from './shared-queue.js';
import type { SimulatedDatabase } from './simulated-database.js';
import type { SimulatedProcess } from './simulated-process.js';
import type { SimulatedTransaction } from './simulated-transaction.js';
import type { Witness } from './witness.js';
import type { World } from './world.js';

/** Milliseconds after which a request ends if the library gives no time limit. */
const STORE_LIMIT = 10_000;
/** The number of connections that statements of one process share. */
const CONNECTIONS = 5;

/** An acquisition that may be sent in one statement with others. */
interface Acquisition extends BatchedRequest {
  owner: string;
  ttl: number;
  request: AcquireRequest | undefined;
}

/** The store of one process: it reaches the simulated database over a network with faults. */
export class SimulatedLink
  implements LockStore, Pick<LockInspector, 'forceRelease' | 'purge'>, TransactionGuard
{
  /** Exists only if the schedule gives the store this method. */
  readonly renewMany: BatchRenewer['renewMany'] | undefined;
  readonly releaseToWaiter: WaiterRelease['releaseToWaiter'] | undefined;
  /** Exists only if the schedule lets requests share statements. */
  readonly #batcher: Batcher<Acquisition, LockAcquireResult> | undefined;
  readonly #queue: SharedQueue;
  #sent = 0;
  #newest = 0;

  constructor(
    private readonly world: World,
    private readonly database: SimulatedDatabase,
    private readonly witness: Witness,
    private readonly process: SimulatedProcess,
  ) {
    if (world.schedule.batches) this.renewMany = (renewals) => this.#renewMany(renewals);
    this.#queue = new SharedQueue(world, process);
    if (world.schedule.shares) this.#batcher = this.#makeBatcher();
    if (world.schedule.passes) this.releaseToWaiter = (...request) => this.#releaseToWaiter(...request);
  }

  acquire(key: string, owner: string, ttl: number, request?: AcquireRequest): Promise<LockAcquireResult> {
    if (!this.#batcher || request?.resend) return this.#acquireOne(key, owner, ttl, request);
    this.witness.meet(owner, this.process);
    const acquisition = { key, owner, ttl, request, timeout: request?.timeout ?? STORE_LIMIT };
    return this.#queue.watched(acquisition, this.#batcher.send(acquisition));
  }

  #makeBatcher(): Batcher<Acquisition, LockAcquireResult> {
    const { process, world } = this;
    return new Batcher<Acquisition, LockAcquireResult>(
      {
        sendOne: (acquisition, timeout, again) => {
          const { key, owner, ttl, request } = acquisition;
          const one = this.#acquireOne(key, owner, ttl, again ? { ...request, resend: true } : request);
          return this.#queue.carry([acquisition], this.#within(timeout, one), !again);
        },
        sendMany: (requests, timeout) =>
          this.#queue.carry(requests, this.#within(timeout, this.#acquireMany(requests)), true),
        failureOf: (_, failure) => (failure instanceof NoAnswerError ? linkBroken() : failure),
      },
      () => ({ alone: 1, smallest: 2, connections: CONNECTIONS }),
      {
        ...process.clock,
        soon: (callback) => void world.timeline.in(0, () => process.receive(callback)),
      },
    );
  }

  /** Lets the request fail at its time limit, like a store that closes the connection then. */
  #within<T>(timeout: number, answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = this.process.clock.after(timeout, () => reject(linkBroken()), false);
      answer.then(resolve, reject).finally(() => timer.cancel());
    });
  }

  /**
   * Acquires many keys in one statement, which leaves out guarded rows. If the server refuses
   * the statement, no row has changed.
   */
  async #acquireMany(
    acquisitions: readonly Acquisition[],
  ): Promise<readonly (LockAcquireResult | undefined)[]> {
    const { database, witness, world } = this;
    const { restarts } = database;
    const keys = acquisitions.map(({ key }) => key);
    const text = this.#text(() => `acquire ${keys.join(' and ')} together`);
    let again = false;
    world.shared += keys.length;
    const answer = this.#send<(LockAcquireResult | undefined)[]>({
      text,
      fate: this.#draw('acquire'),
      asksAgain: false,
      contended: async () => [],
      carryOut: async () => {
        const unlock = await database.rows.lock(keys);
        try {
          if (database.restarts !== restarts) throw linkBroken();
          const results: (LockAcquireResult | undefined)[] = [];
          for (const { key, owner, ttl, request } of acquisitions) {
            const result = database.guarded.has(key)
              ? undefined
              : await this.#operations().acquire(key, owner, ttl, request);
            if (result?.acquired) witness.grantedInStore(owner, again);
            results.push(result);
          }
          again = true;
          return this.#done(text, results);
        } finally {
          unlock();
        }
      },
    });
    return answer.catch((error: unknown) => {
      if (error instanceof LockStoreError && !error.transient) return [];
      throw error;
    });
  }

  #acquireOne(key: string, owner: string, ttl: number, request?: AcquireRequest): Promise<LockAcquireResult> {
    const { witness, process } = this;
    const resend = request?.resend === true;
    const alias = witness.meet(owner, process);
    const text = this.#text(
      () => `acquire ${key} for ${alias}, ttl ${ttlText(ttl)}${resend ? ', sent again' : ''}`,
    );
    // No network delivers a statement twice, so only a request that the library sends again
    // can arrive twice.
    const fate = this.#draw('acquire', resend ? ['delivered twice'] : []);
    let again = false;
    return this.#send<LockAcquireResult>({
      text,
      fate,
      asksAgain: false,
      contended: async () => ({ acquired: false, reason: 'contention' }),
      carryOut: async () => {
        await this.database.unguarded(key);
        const answer = await this.#operations().acquire(key, owner, ttl, request);
        if (answer.acquired) witness.grantedInStore(owner, again);
        again = true;
        const end = answer.acquired ? `granted, token ${answer.fencingToken}` : 'held';
        this.world.story?.tell('database', `${text}: ${end}`);
        return answer;
      },
    });
  }

  renew(key: string, owner: string, ttl: number): Promise<boolean> {
    const text = this.#text(() => `renew ${this.#lease({ key, owner, ttl })}`);
    const answer = this.#renewal([owner], {
      text,
      fate: this.#draw(this.witness.isExtension(owner, ttl) ? 'extend' : 'renew'),
      asksAgain: true,
      carryOut: async () => {
        await this.database.unguarded(key);
        return this.#done(text, await this.#operations().renew(key, owner, ttl));
      },
    });
    answer.then(
      (renewed) => renewed || this.witness.toldOfLoss(owner),
      () => {},
    );
    return answer;
  }

  release(key: string, owner: string, request?: ReleaseRequest): Promise<boolean> {
    const { witness } = this;
    const fate = this.#draw('release');
    const text = this.#text(() => `release ${key} of ${witness.aliasOf(owner)}`);
    const answered = witness.releaseSent(owner);
    const answer = this.#send({
      text,
      fate,
      asksAgain: false,
      carryOut: async () => {
        await this.database.unguarded(key);
        witness.releasedInStore(owner);
        return this.#done(text, await this.#operations().release(key, owner, request));
      },
    });
    answer.then(answered, () => {});
    return answer;
  }

  forceRelease(key: string): Promise<boolean> {
    const text = `free ${key} by force`;
    return this.#administration(text, async () => {
      await this.database.unguarded(key);
      this.witness.freedByForce(key);
      return this.#operations().forceRelease(key);
    });
  }

  purge(request: PurgeRequest): Promise<number> {
    return this.#administration('purge', async () => {
      await this.database.unguarded(...this.world.schedule.keys);
      return this.#operations().purge(request);
    });
  }

  async transaction<T>(work: (context: SimulatedTransaction) => Promise<T>): Promise<T> {
    const transaction = this.database.begin(this.process);
    try {
      const value = await work(transaction);
      await this.#exchange('commit', () => transaction.commit());
      return value;
    } finally {
      transaction.end();
    }
  }

  guard(transaction: SimulatedTransaction, key: string, owner: string, token: number): Promise<boolean> {
    const text = this.#text(() => `guard ${key} of ${this.witness.aliasOf(owner)}`);
    return this.#exchange(text, () => this.#done(text, transaction.guard(key, owner, token)));
  }

  /**
   * Sends one statement of a transaction. It fails if the link fails, but never hangs, since
   * the caller sets a time limit for the commit.
   */
  #exchange<T>(text: string, carryOut: () => T): Promise<T> {
    const { before, after } = this.#draw('release');
    this.world.story?.tell(this.process.name, `asks to ${text}`);
    return new Promise((resolve, reject) => {
      const answer = (settle: () => void): void =>
        void this.world.timeline.in(after, () => this.process.receive(settle));
      this.world.timeline.in(before, () => {
        if (this.process.partitioned || this.database.down) return answer(() => reject(linkBroken()));
        try {
          const value = carryOut();
          answer(() => resolve(value));
        } catch (error) {
          answer(() => reject(error));
        }
      });
    });
  }

  #administration<T>(text: string, carryOut: () => Promise<T>): Promise<T> {
    return this.#send({
      text,
      fate: this.#draw('release', ['unknown error']),
      asksAgain: false,
      carryOut: async () => this.#done(text, await carryOut()),
    });
  }

  #releaseToWaiter(
    ...[key, owner, next, end]: Parameters<WaiterRelease['releaseToWaiter']>
  ): Promise<LockAcquireResult> {
    const { witness, process, world } = this;
    const alias = witness.meet(next.owner, process);
    witness.endSent(owner);
    const text = this.#text(
      () => `pass ${key} of ${witness.aliasOf(owner)} on to ${alias}, ttl ${ttlText(next.ttl)}`,
    );
    return this.#send<LockAcquireResult>({
      text,
      fate: this.#draw('releaseToWaiter'),
      asksAgain: false,
      contended: async () => ({ acquired: false, reason: 'contention' }),
      carryOut: async () => {
        await this.database.unguarded(key);
        const answer = await this.#operations().releaseToWaiter(key, owner, next, end);
        if (answer.acquired) {
          world.passed++;
          witness.releasedInStore(owner);
          witness.grantedInStore(next.owner, false);
        }
        world.story?.tell(
          'database',
          `${text}: ${answer.acquired ? `token ${answer.fencingToken}` : 'refused'}`,
        );
        return answer;
      },
    });
  }

  #renewMany(renewals: readonly LeaseRenewal[]): Promise<RenewalOutcome[]> {
    const text = this.#text(() => `renew ${renewals.map((lease) => this.#lease(lease)).join(' and ')}`);
    const owners = renewals.map(({ owner }) => owner);
    const carryOut = async (): Promise<RenewalOutcome[]> => {
      await this.database.unguarded(...renewals.map(({ key }) => key));
      return this.#done(text, await this.#operations().renewMany(renewals));
    };
    const answer = this.#renewal(owners, {
      text,
      fate: this.#draw('renew'),
      asksAgain: true,
      contended: async () =>
        (await carryOut()).map((outcome) => (this.world.random.percent(50) ? outcome : 'unknown')),
      carryOut,
    });
    answer.then(
      (outcomes) => owners.forEach((owner, i) => outcomes[i] === 'lost' && this.witness.toldOfLoss(owner)),
      () => {},
    );
    return answer;
  }

  #renewal<T>(owners: string[], request: Omit<Request<T>, 'process'>): Promise<T> {
    const answered = this.witness.renewalSent(owners);
    return this.#send({ ...request, settled: answered });
  }

  #send<T>(request: Omit<Request<T>, 'process'>): Promise<T> {
    const number = ++this.#sent;
    const { fate, text } = request;
    if (fate.fault) this.world.count(fate.fault);
    const trouble = fate.fault ? ` (${fate.fault})` : '';
    this.world.story?.tell(this.process.name, `asks to ${text}${trouble}`);
    const arrived = (): void => {
      if (number < this.#newest) this.world.count('overtaken');
      else this.#newest = number;
    };
    return new Delivery(this.world, this.database, { ...request, arrived, process: this.process }).answer;
  }

  #draw(operation: Operation, without: readonly LinkFault[] = []): Fate {
    const { random, schedule } = this.world;
    if (this.world.calm) return { before: 0, after: 0, later: 0 };
    const fate: Fate = {
      before: random.below(schedule.delay + 1),
      after: random.below(schedule.delay + 1),
      later: 0,
    };
    if (this.process.partitioned)
      return { ...fate, fault: random.oneOf(['request lost', 'request unanswered']) };
    if (!random.percent(schedule.troubled[operation]) || schedule.linkFaults.length === 0) return fate;
    const fault = random.oneOf(schedule.linkFaults);
    if (without.includes(fault)) return fate;
    fate.fault = fault;
    if (fault === 'delay')
      fate[random.oneOf(['before', 'after'] as const)] += random.below(random.oneOf([500, 2000, 6000]));
    if (fault === 'carried out late' || fault === 'delivered twice')
      fate.later = random.below(random.oneOf([500, 2500, 8000]));
    return fate;
  }

  #text(make: () => string): string {
    return this.world.story ? make() : '';
  }

  #lease({ key, owner, ttl }: LeaseRenewal): string {
    return `${key} of ${this.witness.aliasOf(owner)}, ttl ${ttlText(ttl)}`;
  }

  #operations(): Port {
    return this.database.operationsFor(this.process.clock);
  }

  #done<T>(text: string, outcome: T): T {
    this.world.story?.tell('database', `${text}: ${String(outcome)}`);
    return outcome;
  }
}

function ttlText(ttl: number): string {
  return ttl === Number.MAX_SAFE_INTEGER ? 'endless' : String(ttl);
}
