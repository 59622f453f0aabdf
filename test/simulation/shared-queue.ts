import type { SimulatedProcess } from './simulated-process.js';
import type { World } from './world.js';

/** Milliseconds between two checks of a request that is not sent yet. */
const PACE = 60;
/** Checks in a row that find the request waiting without a reason. */
const PATIENCE = 6;
/** With this many statements under way, the next one may wait. */
const CROWDED = 4;

/**
 * Checks that no request of a process waits behind a slow statement while connections are
 * free.
 */
export class SharedQueue {
  readonly #waiting = new Set<unknown>();
  readonly #sent = new WeakSet<object>();
  #underWay = 0;

  constructor(
    private readonly world: World,
    private readonly process: SimulatedProcess,
  ) {}

  /** Watches a new request until it is sent or its limit passes. */
  watched<T>(request: object, answer: Promise<T>): Promise<T> {
    if (this.#sent.has(request)) return answer;
    this.#waiting.add(request);
    this.#watch(request, 0);
    return answer.finally(() => this.#waiting.delete(request));
  }

  /** Notes that a statement is sent. If it `counts`, the next ones may wait for it. */
  carry<T>(requests: readonly object[], statement: Promise<T>, counts: boolean): Promise<T> {
    for (const request of requests) {
      this.#sent.add(request);
      this.#waiting.delete(request);
    }
    if (!counts) return statement;
    this.#underWay++;
    return statement.finally(() => this.#underWay--);
  }

  #watch(request: unknown, found: number): void {
    const { process, world } = this;
    world.timeline.in(PACE, () => {
      if (process.dead || !this.#waiting.has(request)) return;
      const excused = process.stopped || this.#underWay >= CROWDED;
      if (!excused && found + 1 === PATIENCE) world.violate('a request waits behind a slow statement');
      else this.#watch(request, excused ? 0 : found + 1);
    });
  }
}
