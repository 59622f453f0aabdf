import type { Fault, Schedule } from './schedule.js';
import type { SeededRandom } from './seeded-random.js';
import { Story } from './story.js';
import { Timeline } from './timeline.js';

/** The state that all parts of one simulated world share: time, random numbers and records. */
export class World {
  readonly timeline = new Timeline();
  readonly story: Story | undefined;
  readonly faults = new Map<Fault, number>();
  /** Whether the part of the play without faults has begun. */
  calm = false;
  holds = 0;
  /** The number of holders that were notified that their lock was lost. */
  losses = 0;
  /** The number of locks that were released to a waiter in one request. */
  passed = 0;
  /** The number of requests that shared a statement with others. */
  shared = 0;
  /** The time and text of the first violation, a promise that the library has broken. */
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
