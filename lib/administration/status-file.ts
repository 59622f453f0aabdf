import { randomUUID } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';
import type { LockEvents } from '../lock.events.js';

/**
 * Writes a digit to a file that says what this process does with locks: 0 for nothing, 1 while
 * it waits for a lock, 2 while it holds a lock. The file is replaced as a whole, so that a
 * reader never finds half of it.
 */
export class StatusFile {
  #waiting = 0;
  #written: number | undefined;
  #writing: Promise<void> | undefined;

  constructor(
    private readonly path: string,
    private readonly holding: () => boolean,
    events: LockEvents,
    /** Receives the error when the file cannot be written. The function may not throw. */
    private readonly failed: (error: unknown) => void,
  ) {
    for (const event of ['acquired', 'restored', 'handedOff', 'lost'] as const)
      events.on(event, () => this.changed());
    this.changed();
  }

  /** Counts the process as waiting for a lock until the promise `wait` has settled. */
  async during<T>(wait: Promise<T>): Promise<T> {
    this.#waiting++;
    this.changed();
    try {
      return await wait;
    } finally {
      this.#waiting--;
      this.changed();
    }
  }

  /** Writes the status if it has changed. Changes during a write are written together. */
  changed(): void {
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
      // If the status changed during the last write, it is written again.
      if (this.#status() !== this.#written) this.changed();
    });
  }

  /** Resolves when the file shows the present status. */
  async settled(): Promise<void> {
    this.changed();
    while (this.#writing) await this.#writing;
  }

  #status(): number {
    if (this.holding()) return 2;
    return this.#waiting > 0 ? 1 : 0;
  }

  async #writeAll(): Promise<void> {
    for (let status = this.#status(); status !== this.#written; status = this.#status()) {
      // `#written` is set before the write, so that a write that fails is not repeated until
      // the status changes.
      this.#written = status;
      await this.#write(status);
    }
  }

  async #write(status: number): Promise<void> {
    const file = `${this.path}.${randomUUID()}.tmp`;
    try {
      await writeFile(file, String(status));
      await rename(file, this.path);
    } catch (error) {
      this.failed(error);
      // An error here is ignored: `failed` has received the error of the write, which is the
      // cause.
      await rm(file, { force: true }).catch(() => {});
    }
  }
}
