import type { Fault, Schedule } from './schedule.js';
import type { SeededRandom } from './seeded-random.js';
import { Story } from './story.js';
import { Timeline } from './timeline.js';

/** What everything in one simulated world shares: its time, its chance, and what is noted down of it. */
export class World {
  readonly timeline = new Timeline();
  readonly story: Story | undefined;
  readonly faults = new Map<Fault, number>();
  /** Nothing goes wrong any more. */
  calm = false;
  holds = 0;
  /** Holders that were told of the loss of their lock. */
  losses = 0;
  /** Locks that went from one holder to the next in one request. */
  passed = 0;
  /** Requests that shared a statement. */
  shared = 0;
  /** The first promise that was broken, with when and how. */
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
