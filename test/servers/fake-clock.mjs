import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { debianPackage } from './debian-packages.mjs';

const SHARED = '/dev/shm';
const LIBRARY = 'usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1';

/**
 * A wall clock for the processes that are started under it, by means of libfaketime. It can be
 * set while the processes run. Their monotonic time stays real.
 */
export class FakeClock {
  #folder;
  #library;

  static async create() {
    const clock = new FakeClock();
    clock.#library = existsSync(`/${LIBRARY}`)
      ? `/${LIBRARY}`
      : join(await debianPackage('bookworm', 'libfaketime'), LIBRARY);
    clock.#folder = await mkdtemp(join(tmpdir(), 'nestjs-locked-clock-'));
    // The servers read this folder, and run as another user if this process is root.
    await chmod(clock.#folder, 0o755);
    await clock.set(0);
    return clock;
  }

  /** The environment variables that let a process run under this clock. */
  get env() {
    return {
      LD_PRELOAD: this.#library,
      FAKETIME_TIMESTAMP_FILE: join(this.#folder, 'time'),
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    };
  }

  /** Sets how many seconds the clock is ahead of the real clock. */
  async set(seconds) {
    const file = join(this.#folder, 'time');
    await writeFile(`${file}.new`, `${seconds < 0 ? '' : '+'}${seconds}\n`);
    await rename(`${file}.new`, file); // No process reads a half-written file.
  }

  /**
   * Starts a server under this clock. The variables are set while `start` runs, because it
   * gives the environment of this process to the server.
   */
  async over(start) {
    Object.assign(process.env, this.env);
    try {
      return await start();
    } finally {
      for (const name of Object.keys(this.env)) delete process.env[name];
    }
  }

  async remove() {
    await rm(this.#folder, { recursive: true });
    // A killed server leaves behind the memory that libfaketime shared among the server's
    // processes.
    for (const name of await readdir(SHARED)) {
      const pid = /^(?:sem\.)?faketime_\w+?_(\d+)$/.exec(name)?.[1];
      if (pid && !existsSync(`/proc/${pid}`)) await rm(join(SHARED, name), { force: true });
    }
  }
}
