import { LockStoreError } from '../../lib/lock.errors.js';
import type { LinkFault } from './schedule.js';
import type { InFlight, SimulatedDatabase } from './simulated-database.js';
import type { SimulatedProcess } from './simulated-process.js';
import type { Appointment } from './timeline.js';
import type { World } from './world.js';

/** The course of one request. */
export interface Fate {
  /** Milliseconds that the request and its answer take. */
  before: number;
  after: number;
  fault?: LinkFault;
  /**
   * After this time the request is carried out once more, or for the first time after its link
   * broke.
   */
  later: number;
}

/** One request to the database, with its text for the story. */
export interface Request<T> {
  readonly process: SimulatedProcess;
  readonly text: string;
  readonly fate: Fate;
  readonly carryOut: () => Promise<T>;
  /** The answer of the database if it could not reach the row. */
  readonly contended?: () => Promise<T>;
  /** Whether a request that arrives twice gets only its second answer. */
  readonly asksAgain: boolean;
  /** Runs on arrival, before the request is carried out. */
  readonly arrived?: () => void;
  /** Runs when the process has an answer of any kind. */
  readonly settled?: () => void;
}

/** Delivers one request to the database and its answer back, or lets the fate interfere. */
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

  /**
   * Ends the request at a restart of the database. It was carried out just before, or never
   * will be.
   */
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
        // The process has lost its connection, but the server goes on with the request that it
        // has.
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

  /** Carries the request out later, unless the database restarts before. */
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

  /** Carries the request out without an answer. */
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

/** The error of a broken connection. */
export function linkBroken(): LockStoreError {
  return new LockStoreError('The link broke.', { transient: true });
}
