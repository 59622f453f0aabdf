import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { debianPackage } from './debian-packages.mjs';

const SHARED = '/dev/shm';
const LIBRARY = 'usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1';

/**
 * The wall clock of the processes that are started under it (libfaketime). It can be set while
 * they run. Monotonic time is not changed.
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
    // When this process runs as root, servers run as another user.
    await chmod(clock.#folder, 0o755);
    await clock.set(0);
    return clock;
  }

  /** The environment of a process under this clock. */
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
    await rename(`${file}.new`, file); // No process reads half of the file.
  }

  /** Starts a server under this clock. Launchers pass on the environment that they find. */
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
    // Killed servers cannot remove the memory that libfaketime shares among their processes.
    for (const name of await readdir(SHARED)) {
      const pid = /^(?:sem\.)?faketime_\w+?_(\d+)$/.exec(name)?.[1];
      if (pid && !existsSync(`/proc/${pid}`)) await rm(join(SHARED, name), { force: true });
    }
  }
}
