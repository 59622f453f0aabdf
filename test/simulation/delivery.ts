import { LockStoreError } from '../../lib/lock.errors.js';
import type { LinkFault } from './schedule.js';
import type { InFlight, SimulatedDatabase } from './simulated-database.js';
import type { SimulatedProcess } from './simulated-process.js';
import type { Appointment } from './timeline.js';
import type { World } from './world.js';

/** What becomes of one request. */
export interface Fate {
  /** How long the request is on its way, and its answer. */
  before: number;
  after: number;
  fault?: LinkFault;
  /** How much later it is carried out once more, or after its link broke. */
  later: number;
}

/** One request to the database: what is asked for, and what to say of it. */
export interface Request<T> {
  readonly process: SimulatedProcess;
  readonly text: string;
  readonly fate: Fate;
  readonly carryOut: () => Promise<T>;
  /** What the database answers when it could not get at the row. */
  readonly contended?: () => Promise<T>;
  /** Whether only the second answer is sent when the request comes twice. */
  readonly asksAgain: boolean;
  /** Told when it arrived, before it is carried out. */
  readonly arrived?: () => void;
  /** Told when the process has got its answer, of whatever kind. */
  readonly settled?: () => void;
}

/** Takes one request to the database and its answer back, or lets happen to them what the fate says. */
export class Delivery<T> implements InFlight {
  #next: Appointment | undefined;
  #carriedOut = false;
  #resolve: (answer: Promise<T>) => void = () => {};
  #reject: (error: Error) => void = () => {};
  readonly answer: Promise<T>;

  constructor(
    private readonly world: World,
    private readonly database: SimulatedDatabase,
    private readonly request: Request<T>,
  ) {
    this.answer = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    database.inFlight.add(this);
    this.#in(request.fate.before, () => this.#arrive());
  }

  /** The database restarts: the request was carried out just before, or never will be. */
  breakOff(): void {
    this.#next?.cancel();
    if (!this.#carriedOut && this.world.random.percent(50)) this.#carryOutUnheard();
    this.#fail(linkBroken());
  }

  #arrive(): void {
    const { fate, contended } = this.request;
    if (this.database.down) return this.#fail(linkBroken());
    this.request.arrived?.();
    switch (fate.fault) {
      case 'request lost':
        return this.#fail(linkBroken());
      case 'request unanswered':
        return this.#vanish();
      case 'refused':
        return this.#fail(new LockStoreError('The server refused.'));
      case 'carried out late':
        // The connection of the process is gone, but a server that has the request in hand goes on with it.
        this.#fail(linkBroken());
        return this.#laterOn('is carried out although its link broke');
      case 'unknown error':
        if (this.world.random.percent(50)) this.#carryOutUnheard();
        return this.#fail(new Error('something'));
      case 'contention':
        if (contended) return this.#answer(contended());
        break;
      case 'delivered twice':
        if (this.request.asksAgain) {
          this.#carryOutUnheard();
          return this.#in(fate.later, () => this.#answer(this.#carryOut()));
        }
        this.#laterOn('is delivered once more');
        break;
      default:
    }
    this.#answer(this.#carryOut());
  }

  /** A restart of the database ends what it has in hand. */
  #laterOn(how: string): void {
    const { restarts } = this.database;
    this.world.timeline.in(this.request.fate.later, () => {
      if (this.database.restarts !== restarts) return;
      this.#tell(how);
      this.#carryOutUnheard();
    });
  }

  async #carryOut(): Promise<T> {
    this.#carriedOut = true;
    return this.request.carryOut();
  }

  /** Nobody is told what came of it. */
  #carryOutUnheard(): void {
    this.#carryOut().catch(() => {});
  }

  #answer(answer: Promise<T>): void {
    const { fault, after } = this.request.fate;
    answer.then(
      () => {
        if (fault === 'answer lost') return this.#fail(linkBroken(), after);
        if (fault === 'answer unanswered' || this.request.process.partitioned) return this.#vanish();
        this.#in(after, () => this.#receive(() => this.#resolve(answer)));
      },
      (error: Error) => this.#fail(error),
    );
  }

  #fail(error: Error, after = this.request.fate.after): void {
    this.#in(after, () => {
      this.#tell(`fails: ${error.message}`);
      this.#receive(() => this.#reject(error));
    });
  }

  #receive(settle: () => void): void {
    this.#vanish();
    this.request.process.receive(() => {
      this.request.settled?.();
      settle();
    });
  }

  #vanish(): void {
    this.database.inFlight.delete(this);
  }

  #in(ms: number, happen: () => void): void {
    this.#next = this.world.timeline.in(ms, happen);
  }

  #tell(what: string): void {
    this.world.story?.tell(this.request.process.name, `${this.request.text} ${what}`);
  }
}

/** What a process sees of a connection that is gone. */
export function linkBroken(): LockStoreError {
  return new LockStoreError('The link broke.', { transient: true });
}
