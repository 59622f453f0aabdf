import { Lane, MACHINE, SLOW, type BatchClock } from './lane.js';
import { NoAnswerError } from './operation-limit.js';

/**
 * The largest number of requests in a batch. Much larger batches would stall other writers.
 */
export const LARGEST_BATCH = 500;

/** A request that may share a statement with requests for other keys. */
export interface BatchedRequest {
  key: string;
  /** Milliseconds that the request may take, including its wait for a statement. */
  timeout: number;
}

/** When requests share a statement. */
export interface BatchLimits {
  /**
   * Up to this many requests under way are sent one by one. Further requests wait, and share
   * statements.
   */
  alone: number;
  /**
   * The smallest number of waiting requests for which a batch is faster than single
   * statements.
   */
  smallest: number;
  /** How many connections the batches may use, if their statements are slow. */
  connections: number;
  /**
   * Whether requests of the same turn of the event loop share a statement. This is for a
   * driver that blocks the event loop, since no request can arrive during its statement.
   */
  gathers?: boolean | undefined;
}

/** How requests reach the database. */
export interface BatchSenders<Request, Result> {
  /**
   * Sends one request alone.
   *
   * @param timeout milliseconds
   * @param again whether a batch may already have carried out the request
   */
  sendOne(request: Request, timeout: number, again: boolean): Promise<Result>;
  /**
   * Sends requests for different keys, in the order of their keys, so that batches of several
   * processes lock rows in the same order.
   *
   * @param timeout milliseconds
   * @param settle reports the result of the request at a place of `requests` before the other
   * results are known
   * @returns results in the order of the requests, with `undefined` for each request that has
   * to be sent alone; or `undefined` if all have to be sent alone
   */
  sendMany(
    requests: readonly Request[],
    timeout: number,
    settle: (place: number, result: Result) => void,
  ): Promise<readonly (Result | undefined)[] | undefined>;
  /** Makes the error of one request after its batch has failed. */
  failureOf(request: Request, failure: unknown): unknown;
}

/** A request that waits for the next statement. */
interface Waiting<Request, Result> {
  request: Request;
  /** The monotonic time at which the limit of the request ends. */
  until: number;
  resolve: (result: Result) => void;
  reject: (error: unknown) => void;
}

/**
 * Lets requests share statements. A request is sent at once if few others are under way.
 * Requests that arrive meanwhile go together in the next statement. So a single caller never
 * waits for others, and many callers share the round trip and the write to the disk. Under
 * load, requests of the same turn of the event loop go together.
 *
 * At most 500 requests share a statement, each for a different key. A statement that takes
 * longer than 50 ms is slow: the next statement no longer waits for it, and uses another
 * connection. If a batch leaves a request without a result, the request is repeated in a
 * separate lane, so that new requests do not wait for it. A request overtakes an earlier
 * request for the same key only if the statement of the earlier request is slow.
 */
export class Batcher<Request extends BatchedRequest, Result> {
  #waiting: Waiting<Request, Result>[] = [];
  readonly #lane: Lane;
  /** The keys of the requests under way, without the keys of slow statements. */
  readonly #keys = new Set<string>();
  /** Requests that a batch left without a result, and that wait for their repetition. */
  readonly #open: Waiting<Request, Result>[] = [];
  readonly #repetitions: Lane;
  #slowTimer: { cancel(): void } | undefined;
  /**
   * Whether there is load: from the first batch until a request that was sent alone ends while
   * few others wait. Under load, many requests arrive at once, since the callers of a batch
   * continue at the same time.
   */
  #isBusy = false;
  #sendsSoon = false;

  /** @param limits called for each statement, since the limits depend on the open database */
  constructor(
    private readonly senders: BatchSenders<Request, Result>,
    private readonly limits: () => BatchLimits,
    private readonly clock: BatchClock = MACHINE,
  ) {
    this.#lane = new Lane(clock);
    this.#repetitions = new Lane(clock);
  }

  /** Resolves to the request's own result, or rejects with its own error. */
  send(request: Request): Promise<Result> {
    if (this.#waiting.length === 0 && this.#hasRoom && !this.#isBusy && !this.#keys.has(request.key))
      return this.#trackSingle(request, this.senders.sendOne(request, request.timeout, false));
    return new Promise((resolve, reject) => {
      const until = this.clock.now() + request.timeout;
      this.#waiting.push({ request, until, resolve, reject });
      this.#watchForSlow();
      if (this.#isBusy) this.#sendSoon();
      else this.#sendNext();
    });
  }

  /**
   * Sends the next statement at the end of this turn of the event loop, so that all requests
   * of the turn share it.
   */
  #sendSoon(): void {
    if (this.#sendsSoon) return;
    this.#sendsSoon = true;
    this.clock.soon(() => {
      this.#sendsSoon = false;
      this.#sendNext();
    });
  }

  /** Whether one more statement may be sent. */
  get #hasRoom(): boolean {
    return this.#lane.load < (this.#isBusy ? 1 : this.limits().alone);
  }

  #sendNext(): void {
    const { alone, smallest } = this.limits();
    while (this.#waiting.length > 0 && this.#hasRoom) {
      const isFew = this.#waiting.length < smallest;
      const batch = this.#take(isFew ? 1 : LARGEST_BATCH);
      if (batch.length === 0) return; // earlier requests for these keys are still under way
      if (!isFew) this.#isBusy = batch.length >= smallest;
      const inTime = this.#rejectLate(batch);
      const [first] = inTime;
      if (inTime.length === 1 && first) void this.#trackSingle(first.request, this.#sendAlone(first, false));
      else if (first) void this.#sendBatch(inTime, alone);
    }
    if (this.#waiting.length + this.#open.length > 0) return;
    this.#slowTimer?.cancel();
    this.#slowTimer = undefined;
  }

  /**
   * Takes waiting requests, sorted by key: at most one for each key, and none for a key that
   * is under way.
   */
  #take(most: number): Waiting<Request, Result>[] {
    const batch = new Map<string, Waiting<Request, Result>>();
    const left: Waiting<Request, Result>[] = [];
    for (const waiting of this.#waiting) {
      const { key } = waiting.request;
      if (batch.size === most || batch.has(key) || this.#keys.has(key)) left.push(waiting);
      else batch.set(key, waiting);
    }
    this.#waiting = left;
    const keys = [...batch.keys()].toSorted();
    return keys.flatMap((key) => batch.get(key) ?? []);
  }

  /** Rejects requests whose time limit passed while they waited, and returns the others. */
  #rejectLate(batch: readonly Waiting<Request, Result>[]): Waiting<Request, Result>[] {
    const now = this.clock.now();
    return batch.filter(({ request, until, reject }) => {
      if (until > now) return true;
      reject(this.senders.failureOf(request, new NoAnswerError(request.timeout)));
      return false;
    });
  }

  async #sendBatch(batch: readonly Waiting<Request, Result>[], load: number): Promise<void> {
    const requests = batch.map(({ request }) => request);
    const timeout = Math.max(...batch.map(({ until }) => until)) - this.clock.now();
    const settled = new Set<number>();
    try {
      const statement = this.senders.sendMany(requests, timeout, (place, result) => {
        settled.add(place);
        batch[place]?.resolve(result);
      });
      const results = (await this.#track(this.#lane, load, statement, this.#occupy(requests))) ?? [];
      for (const [i, waiting] of batch.entries()) {
        const result = results[i];
        if (result !== undefined) waiting.resolve(result);
        else if (!settled.has(i)) this.#open.push(waiting);
      }
      this.#sendOpen();
    } catch (error) {
      for (const { request, reject } of batch) reject(this.senders.failureOf(request, error));
    }
  }

  /**
   * Repeats the requests that batches left without a result, on as many connections as batches
   * may use.
   */
  #sendOpen(): void {
    while (this.#open.length > 0 && this.#repetitions.load < this.limits().connections)
      for (const waiting of this.#rejectLate(this.#open.splice(0, 1)))
        void this.#track(this.#repetitions, 1, this.#sendAlone(waiting, true), () => {});
    if (this.#open.length > 0) this.#watchForSlow();
  }

  async #sendAlone(
    { request, until, resolve, reject }: Waiting<Request, Result>,
    again: boolean,
  ): Promise<void> {
    await this.senders.sendOne(request, until - this.clock.now(), again).then(resolve, reject);
  }

  #trackSingle<T>(request: Request, statement: Promise<T>): Promise<T> {
    const wasBusy = this.#isBusy;
    return this.#track(this.#lane, 1, statement, this.#occupy([request]), () => {
      if (wasBusy && this.#waiting.length < this.limits().smallest) this.#isBusy = false;
    });
  }

  /**
   * Makes later requests for the same keys wait.
   *
   * @returns a function that frees the keys. Only the first call of the function counts, since
   * the keys may belong to another statement later
   */
  #occupy(requests: readonly Request[]): () => void {
    let isFree = false;
    for (const { key } of requests) this.#keys.add(key);
    return () => {
      if (isFree) return;
      isFree = true;
      for (const { key } of requests) this.#keys.delete(key);
    };
  }

  /**
   * Watches a statement, and sends the next statement when this statement ends.
   *
   * @param free frees the keys of the statement
   */
  #track<T>(lane: Lane, load: number, statement: Promise<T>, free: () => void, ended = () => {}): Promise<T> {
    const leave = lane.begin(load, free);
    const next = (): void => {
      leave();
      free();
      ended();
      this.#sendNext();
      this.#sendOpen();
    };
    // If requests wait, more of them may come in this turn, and share the next statement. A
    // single caller does not have to wait for the end of the turn.
    const end = (): void => {
      if (this.limits().gathers && this.#waiting.length > 0) this.clock.soon(next);
      else next();
    };
    statement.then(end, end);
    return statement;
  }

  /**
   * Starts a timer that finds slow statements. Only waiting requests need the timer, so a
   * single caller never starts it.
   */
  #watchForSlow(): void {
    if (this.#slowTimer) return;
    this.#slowTimer = this.clock.after(
      SLOW,
      () => {
        this.#slowTimer = undefined;
        this.#passSlow();
        if (this.#waiting.length > 0) this.#watchForSlow();
      },
      false,
    );
  }

  /**
   * Lets further statements go on without waiting for slow statements, even for one slow
   * statement with a pool of one connection. They wait for no slow repetition, since a request
   * that waits for a locked row uses no connection during its pauses.
   */
  #passSlow(): void {
    this.#lane.passSlow(Math.max(1, this.limits().connections - 1));
    this.#repetitions.passSlow(Infinity);
    this.#sendNext();
    this.#sendOpen();
  }
}
