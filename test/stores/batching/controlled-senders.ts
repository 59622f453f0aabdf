import { jest } from '@jest/globals';
import type { BatchedRequest, BatchLimits, BatchSenders } from '../../../lib/stores/shared/batcher.js';
import { Batcher } from '../../../lib/stores/shared/batcher.js';

/** A request with a name, which tells it from other requests for the same key. */
export interface NamedRequest extends BatchedRequest {
  name: string;
}

/** The failure of one request, made from the failure of its batch. */
export class OwnFailure extends Error {
  constructor(
    readonly request: string,
    override readonly cause: unknown,
  ) {
    super(`failed: ${request}`);
  }
}

type Results = readonly (string | undefined)[] | undefined;

/** A statement that the batcher has sent. It stays under way until the test ends it. */
export class SentStatement {
  /** Ends a single request or a batch with the results of a correct store. */
  readonly succeed: () => Promise<void>;
  readonly answer: (results: Results) => Promise<void>;
  readonly fail: (failure: unknown) => Promise<void>;
  /** Reports the result of one request while the statement is still under way. */
  readonly succeedFor: (name: string) => Promise<void>;
  readonly keys: string[];
  readonly names: string[];

  constructor(
    requests: readonly NamedRequest[],
    readonly kind: 'one' | 'again' | 'many',
    readonly timeout: number,
    settle: { resolve: (results: Results) => void; reject: (failure: unknown) => void },
    report: (place: number, result: string) => void = () => {},
  ) {
    this.keys = requests.map(({ key }) => key);
    this.names = requests.map(({ name }) => name);
    this.answer = (results) => settled(() => settle.resolve(results));
    this.fail = (failure) => settled(() => settle.reject(failure));
    this.succeedFor = (name) => settled(() => report(this.names.indexOf(name), `result of ${name}`));
    this.succeed = () => this.answer(this.names.map((name) => `result of ${name}`));
  }
}

/** The senders of a batcher whose statements the test ends. */
export class ControlledSenders implements BatchSenders<NamedRequest, string> {
  /** All statements, in the order of sending. */
  readonly sent: SentStatement[] = [];
  /** The result or error of each request, by its name. */
  readonly outcomes = new Map<string, unknown>();
  readonly batcher: Batcher<NamedRequest, string>;

  constructor(limits: Partial<BatchLimits> = {}) {
    this.batcher = new Batcher(this, () => ({ alone: 1, smallest: 2, connections: 5, ...limits }));
  }

  /**
   * Sends requests whose names begin with their keys: `key#2` is a second request for `key`.
   */
  send(...names: string[]): void {
    for (const name of names) this.sendWithin(10_000, name);
  }

  sendWithin(timeout: number, name: string): void {
    this.batcher.send({ key: name.split('#')[0] ?? name, timeout, name }).then(
      (result) => this.outcomes.set(name, result),
      (failure: unknown) => this.outcomes.set(name, failure),
    );
  }

  /** Returns a statement by its place in the order of sending. */
  statement(place: number): SentStatement {
    const statement = this.sent.at(place);
    if (!statement) throw new Error(`statement ${place} was not sent; there are ${this.sent.length}`);
    return statement;
  }

  /**
   * The names of the requests in each statement, in the order in which the statements were
   * sent.
   */
  get names(): string[][] {
    return this.sent.map(({ names }) => names);
  }

  sendOne(request: NamedRequest, timeout: number, again: boolean): Promise<string> {
    return this.#sent([request], again ? 'again' : 'one', timeout).then((results) => results?.[0] ?? '');
  }

  sendMany(
    requests: readonly NamedRequest[],
    timeout: number,
    settle: (place: number, result: string) => void,
  ): Promise<Results> {
    return this.#sent(requests, 'many', timeout, settle);
  }

  failureOf({ name }: NamedRequest, failure: unknown): OwnFailure {
    return new OwnFailure(name, failure);
  }

  #sent(
    requests: readonly NamedRequest[],
    kind: SentStatement['kind'],
    timeout: number,
    report?: (place: number, result: string) => void,
  ): Promise<Results> {
    return new Promise((resolve, reject) => {
      this.sent.push(new SentStatement(requests, kind, timeout, { resolve, reject }, report));
    });
  }
}

/** Runs all pending work of the event loop after an action, while the clock stands still. */
async function settled(act: () => void = () => {}): Promise<void> {
  act();
  await jest.advanceTimersByTimeAsync(0);
}
