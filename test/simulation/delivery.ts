import { LockStoreError } from '../../lib/lock.errors.js';
import type { LinkFault } from './schedule.js';
import type { InFlight, SimulatedDatabase } from './simulated-database.js';
import type { SimulatedProcess } from './simulated-process.js';
import type { Appointment } from './timeline.js';
import type { World } from './world.js';

/** How long one request takes, and which fault it meets on its way. */
export interface Fate {
  /**
   * Milliseconds that the request takes to the database, and `after`, those that its answer
   * takes back.
   */
  before: number;
  after: number;
  fault?: LinkFault;
  /**
   * Milliseconds after which the fault 'delivered twice' repeats the request, or after which
   * 'carried out late' carries it out.
   */
  later: number;
}

/** One request to the database. `text` describes it in the story. */
export interface Request<T> {
  readonly process: SimulatedProcess;
  readonly text: string;
  readonly fate: Fate;
  readonly carryOut: () => Promise<T>;
  /** Makes the answer that the database gives if another session has locked the row. */
  readonly contended?: () => Promise<T>;
  /** Whether the process gets only the second answer if the request is delivered twice. */
  readonly asksAgain: boolean;
  /** Runs on arrival, before the request is carried out. */
  readonly arrived?: () => void;
  /** Runs when the process has got a result or an error. */
  readonly settled?: () => void;
}

/**
 * Delivers one request to the database and the answer back to the process, unless a fault
 * prevents it.
 */
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
   * Lets the request fail because the database restarts. At random, the request was carried
   * out just before the restart, or is never carried out.
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
        // The link breaks, so the process gets an error, but the database carries the request
        // out later.
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

  /** Carries the request out later, unless the database restarts in between. */
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

  /** Carries the request out, but sends no answer to the process. */
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

/** The error that a process gets when its connection breaks. */
export function linkBroken(): LockStoreError {
  return new LockStoreError('The link broke.', { transient: true });
}
