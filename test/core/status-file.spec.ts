import { INTERNALS } from '../../lib/lock-internals.js';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { EventEmitter } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as tick } from 'node:timers/promises';
import { LockNotAcquiredError } from '../../lib/lock.errors.js';
import { StatusFile } from '../../lib/administration/status-file.js';
import { captureLog, errorOf, startCore, warnings, watch, type Core } from './core-fixture.js';

const log = captureLog();
let folder: string;
let statusFile: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nestjs-locked-status-'));
  statusFile = join(folder, 'locks.status');
});
afterEach(() => rm(folder, { recursive: true }));

/** Resolves as soon as the file has this content, and never if it does not get it. */
async function says(status: string): Promise<void> {
  while ((await readFile(statusFile, 'utf8').catch(() => 'nothing')) !== status) await tick();
}

describe('the status file', () => {
  it('B74 the status file says 0 at start, 2 while a lock is held, and 0 after its release', async () => {
    const { service } = await startCore({ statusFile });
    await says('0');
    const lock = await service.acquire('key');
    await says('2');
    await lock.release();
    await says('0');
  });

  it('B74 the status file counts waiting calls and held locks', async () => {
    const core = await startCore({ statusFile });
    await core.store.server.acquire('busy', 'other', 60_000);
    const waiting = watch(core.service.acquire('busy', { wait: '10s' }));
    await says('1');
    const lock = await core.service.acquire('key');
    await says('2');
    await lock.release();
    await says('1');
    await core.clock.advance(11_000);
    expect(waiting.error).toBeInstanceOf(LockNotAcquiredError);
    await says('0');
  });

  it('B74 the status file says 0 after a loss and after a failed release', async () => {
    const core = await startCore({ statusFile, ttl: 900 });
    await core.service.acquire('key');
    await says('2');
    await core.store.server.forceRelease('key');
    await core.clock.advance(300);
    await says('0');

    const lock = await core.service.acquire('other');
    await says('2');
    core.store.next('release', { fail: () => new Error('no') });
    await errorOf(lock.release());
    await says('0');
  });

  it('B74 the status file says 0 after a hand-off and 2 after a restore', async () => {
    const { service } = await startCore({ statusFile });
    const data = await (await service.acquire('key')).handOff();
    await says('0');
    await service.restore(data);
    await says('2');
  });

  it('B74 the status file says 0 after the shutdown, and its folder has no other file', async () => {
    const { service } = await startCore({ statusFile });
    await service.acquire('key');
    await service[INTERNALS].drain();
    await service[INTERNALS].close();
    expect(await readFile(statusFile, 'utf8')).toBe('0');
    expect(await readdir(folder)).toEqual(['locks.status']);
  });

  it('B74 the status file says 0 while locking is disabled', async () => {
    const { service } = await startCore({ statusFile, enabled: false });
    await service.acquire('key');
    await says('0');
  });

  it('B74 the status file gets a change that comes just when the previous write ends', async () => {
    let holding = false;
    let last = false;
    const file: StatusFile = new StatusFile(
      statusFile,
      () => {
        const now = holding;
        if (last) {
          last = false;
          queueMicrotask(() => {
            holding = true;
            file.changed();
          });
        }
        return now;
      },
      new EventEmitter(),
      () => {},
    );
    await file.settled();
    last = true;
    await file.settled();
    expect(await readFile(statusFile, 'utf8')).toBe('2');
  });

  it('B74 a status file that cannot be written is logged, and locks work', async () => {
    const core: Core = await startCore({ statusFile: join(folder, 'missing', 'file') });
    const lock = await core.service.acquire('key');
    expect(await lock.release()).toBe(true);
    while (warnings(log).length === 0) await tick();
    expect(warnings(log)).toEqual([expect.stringContaining('status file')]);
  });

  it.each([
    ['', 'must be the path'],
    [7, 'must be the path'],
    ['a\0b', 'must be the path'],
  ])('B74 the name %j of a status file is refused', async (name, message) => {
    const error = await errorOf(startCore({ statusFile: name as string }));
    expect(error.message).toContain(message);
  });
});
