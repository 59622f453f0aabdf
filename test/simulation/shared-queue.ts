import type { SimulatedProcess } from './simulated-process.js';
import type { World } from './world.js';

/** Milliseconds between two checks of a request that is not sent yet. */
const PACE = 60;
/**
 * If this many checks in a row find a request waiting without a reason, that is a violation.
 */
const PATIENCE = 6;
/** From this number of statements under way on, another request has a reason to wait. */
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

  /** Watches a new request until it is sent or its time limit has passed. */
  watched<T>(request: object, answer: Promise<T>): Promise<T> {
    if (this.#sent.has(request)) return answer;
    this.#waiting.add(request);
    this.#watch(request, 0);
    return answer.finally(() => this.#waiting.delete(request));
  }

  /**
   * Records that a statement is sent. If `counts` is `true`, later requests may wait for a
   * connection because of this statement.
   */
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
