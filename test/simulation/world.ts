import type { Fault, Schedule } from './schedule.js';
import type { SeededRandom } from './seeded-random.js';
import { Story } from './story.js';
import { Timeline } from './timeline.js';

/**
 * The state that everything in one simulated world shares: time, random numbers and records.
 */
export class World {
  readonly timeline = new Timeline();
  readonly story: Story | undefined;
  readonly faults = new Map<Fault, number>();
  /** From now on there are no faults. */
  calm = false;
  holds = 0;
  /** Holders that were notified of the loss of their lock. */
  losses = 0;
  /** Locks that were released to a waiter in one request. */
  passed = 0;
  /** Requests that shared a statement. */
  shared = 0;
  /** The first broken promise, with its time. */
  violation: string | undefined;

  constructor(
    readonly schedule: Schedule,
    readonly random: SeededRandom,
    tellsStory: boolean,
  ) {
    if (tellsStory) this.story = new Story(this.timeline);
  }

  count(fault: Fault): void {
    this.faults.set(fault, (this.faults.get(fault) ?? 0) + 1);
  }

  violate(what: string): void {
    this.violation ??= `${what}, at ${this.timeline.now / 1000} s`;
    this.story?.tell('!', what);
  }
}
