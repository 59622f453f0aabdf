import type { Timeline } from './timeline.js';

/**
 * Lists the events of one schedule in plain text, so that people can read how a failure came
 * about.
 */
export class Story {
  readonly lines: string[] = [];

  constructor(private readonly timeline: Timeline) {}

  tell(who: string, what: string): void {
    this.lines.push(`${(this.timeline.now / 1000).toFixed(3).padStart(8)} s  ${who.padEnd(8)}  ${what}`);
  }
}
