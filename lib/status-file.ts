import { randomUUID } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';

/** What a process does with locks: nothing, waits for one, holds one. */
export type LockStatus = 0 | 1 | 2;

/** Keeps the status in a file, which is replaced as a whole: whoever reads it never finds half of it. */
export class StatusFile {
  #written: LockStatus | undefined;
  #writing: Promise<void> | undefined;

  constructor(
    private readonly path: string,
    private readonly status: () => LockStatus,
    /** May not throw. */
    private readonly failed: (error: unknown) => void,
  ) {}

  /** The status may be another one. Changes that come while the file is written are written together. */
  changed(): void {
    this.#writing ??= this.#writeAll().finally(() => (this.#writing = undefined));
  }

  /** Resolves when the file says what is. */
  async settled(): Promise<void> {
    this.changed();
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    for (let status = this.status(); status !== this.#written; status = this.status()) {
      this.#written = status; // also when it fails: the next change is the next try
      await this.#write(status);
    }
  }

  async #write(status: LockStatus): Promise<void> {
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
