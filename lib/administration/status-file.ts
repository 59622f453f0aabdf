import { randomUUID } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';
import type { LockEvents } from '../lock.events.js';

/**
 * Keeps in a file what a process does with locks: 0 nothing, 1 waits for one, 2 holds one. The file is replaced as a whole: whoever reads it never finds
 * half of it.
 */
export class StatusFile {
  #waiting = 0;
  #written: number | undefined;
  #writing: Promise<void> | undefined;

  constructor(
    private readonly path: string,
    private readonly holding: () => boolean,
    events: LockEvents,
    /** May not throw. */
    private readonly failed: (error: unknown) => void,
  ) {
    for (const event of ['acquired', 'restored', 'handedOff', 'lost'] as const)
      events.on(event, () => this.changed());
    this.changed();
  }

  /** Says that somebody waits, until `wait` has settled. */
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

  /** The status may be another one. Changes that come while the file is written are written together. */
  changed(): void {
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
      if (this.#status() !== this.#written) this.changed(); // it changed after the last look
    });
  }

  /** Resolves when the file says what is. */
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
      this.#written = status; // also when it fails: the next change is the next try
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
      await rm(file, { force: true }).catch(() => {}); // the error before says what is wrong
    }
  }
}
