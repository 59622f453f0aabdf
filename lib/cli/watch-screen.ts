import { styleText } from 'node:util';
import type { WriteStream } from 'node:tty';
import type { LockError } from '../lock.errors.js';
import type { LockRecord } from '../interfaces/lock-record.interface.js';
import { countText, LOCK_COLUMNS, timeText } from './lock-text.js';
import { withoutPasswords } from './output.js';
import { fitted, printable, tableLines } from './text-table.js';
import type { Look, WatchView } from './watch-locks.js';

// Enters the terminal's second screen and hides the cursor.
const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';

/**
 * Redraws a table of the locks in place, on the terminal's second screen. At the end it
 * restores what the terminal showed before.
 */
export class WatchScreen implements WatchView {
  private locks: LockRecord[] = [];
  private seenAt: Date | undefined;
  private failure: { at: Date; error: LockError } | undefined;
  private open = true;

  constructor(
    private readonly terminal: WriteStream,
    private readonly interval: string,
  ) {
    terminal.write(ENTER);
    terminal.on('resize', this.draw);
    process.on('exit', this.leave);
  }

  show(look: Look): void {
    if ('error' in look) this.failure = look;
    else {
      this.failure = undefined;
      this.locks = look.locks;
      this.seenAt = look.at;
    }
    this.draw();
  }

  end(): void {
    this.terminal.off('resize', this.draw);
    process.off('exit', this.leave);
    this.leave();
  }

  private readonly draw = (): void => {
    const { columns, rows } = this.size;
    const [titles = '', ...table] = this.seenAt ? tableLines(LOCK_COLUMNS, this.locks) : [];
    const head = this.head();
    // Besides the table itself, three lines are needed: an empty line, the titles, and the
    // number of locks that do not fit.
    const room = Math.max(rows - head.length - 3, 1);
    const hidden = table.length - room;
    const lines = [
      ...head,
      '',
      this.styled('dim', fitted(titles, columns)),
      ...table.slice(0, room).map((line) => fitted(line, columns)),
      ...(hidden > 0 ? [this.styled('dim', `and ${hidden} more`)] : []),
    ];
    // Each line overwrites the old line in its place, so that nothing flickers.
    this.terminal.write(`\x1b[H${lines.slice(0, rows).join('\x1b[K\n')}\x1b[K\x1b[J`);
  };

  /** The size of the terminal. Some terminals report 0; for them, a usual size is assumed. */
  private get size(): { columns: number; rows: number } {
    return { columns: this.terminal.columns || 80, rows: this.terminal.rows || 24 };
  }

  private head(): string[] {
    const { columns } = this.size;
    const count = this.seenAt ? `${countText(this.locks.length)}, ${timeText(this.seenAt)}` : 'not seen yet';
    const line = fitted(`nestjs-locked  ${count}  every ${this.interval}, Ctrl-C ends`, columns);
    const head = [this.styled('bold', line)];
    if (this.failure) {
      const { at, error } = this.failure;
      const message = withoutPasswords(printable(error.message));
      head.push(this.styled('red', fitted(`${timeText(at)} ${message}`, columns)));
    }
    return head;
  }

  private styled(style: 'bold' | 'dim' | 'red', text: string): string {
    return this.terminal.hasColors() && text !== '' ? styleText(style, text) : text;
  }

  private readonly leave = (): void => {
    if (this.open) this.terminal.write(LEAVE);
    this.open = false;
  };
}
