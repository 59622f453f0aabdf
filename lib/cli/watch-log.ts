import type { LockRecord } from '../interfaces/lock-record.interface.js';
import { countText, holderText, spanText, timeText } from './lock-text.js';
import { printJson, printLine, withoutPasswords } from './output.js';
import { printable } from './text-table.js';
import type { Look, WatchView } from './watch-locks.js';

/** A change since the database was last read. */
type Change =
  | { event: 'held' | 'free'; at: Date; lock: LockRecord }
  | { event: 'error'; at: Date; message: string }
  | { event: 'seen'; at: Date; count: number };

/**
 * Prints one line for each change. The output goes to a pipe or a file, where a table cannot
 * be redrawn.
 */
export class WatchLog implements WatchView {
  private held = new Map<string, LockRecord>();
  private message: string | undefined;
  private seen = false;

  constructor(private readonly json: boolean) {}

  show(look: Look): void {
    for (const change of 'error' in look ? this.failed(look) : this.changes(look))
      if (this.json) printJson(change);
      else printLine(`${timeText(change.at)}  ${lineOf(change)}`);
  }

  end(): void {
    this.held.clear();
  }

  private *failed({ at, error }: Extract<Look, { error: unknown }>): Generator<Change> {
    const message = withoutPasswords(error.message);
    if (message !== this.message) yield { event: 'error', at, message };
    this.message = message;
  }

  private *changes({ at, locks }: Extract<Look, { locks: unknown }>): Generator<Change> {
    const now = new Map(locks.map((lock) => [lock.key, lock]));
    // A line at the beginning, and after a failure, shows the user that the database can be
    // read.
    if (!this.seen || this.message !== undefined) yield { event: 'seen', at, count: locks.length };
    this.seen = true;
    this.message = undefined;
    for (const [key, lock] of this.held)
      if (now.get(key)?.fencingToken !== lock.fencingToken) yield { event: 'free', at, lock };
    for (const [key, lock] of now)
      if (this.held.get(key)?.fencingToken !== lock.fencingToken) yield { event: 'held', at, lock };
    this.held = now;
  }
}

function lineOf(change: Change): string {
  switch (change.event) {
    case 'error':
      return `error  ${printable(change.message)}`;
    case 'seen':
      return `seen   ${countText(change.count)}`;
    default: {
      const { key, remaining } = change.lock;
      const left = change.event === 'held' ? `, ${spanText(remaining)} left` : '';
      return `${change.event}   ${printable(key)}  ${holderText(change.lock)}${left}`;
    }
  }
}
