import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { LockInspector } from '../../lib/interfaces/index.js';
import { MongoFixture, mongodbIsSelected } from '../stores/mongodb/fixture.js';
import { Fixture, targetsAmong } from '../stores/typeorm/fixture.js';

/**
 * Milliseconds within which the process has to end: 3 s are the shutdownTimeout of the
 * application, the rest allows for a busy machine.
 */
const LIMIT = 3_000 + 10_000;

interface Told {
  event: string;
  key?: string;
  held?: boolean;
  locks?: number;
  error?: string;
}

const children = new Set<ChildProcess>();

afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
});

/** Runs an application on the built package (`npm run build`) in a process of its own. */
function run(database: object, task: 'load' | 'take') {
  const child = spawn(process.execPath, [
    'test/processes/loaded-instance.mjs',
    JSON.stringify(database),
    task,
  ]);
  children.add(child);
  const told: Told[] = [];
  const errors: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => errors.push(line));
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => told.push(JSON.parse(line)));
  const ended = once(child, 'close').then(([code, signal]: unknown[]) => ({ code, signal, errors }));
  return {
    child,
    told,
    ended,
    event: async (name: string): Promise<void> => {
      const never = ended.then(() => Promise.reject(new Error(`it ended before: ${errors.join('\n')}`)));
      // A caller that got its event no longer handles `never`, so its later rejection is
      // ignored here.
      never.catch(() => {});
      while (!told.some(({ event }) => event === name)) await Promise.race([once(lines, 'line'), never]);
    },
  };
}

async function stopUnderLoad(database: object, store: LockInspector): Promise<void> {
  const { child, told, event, ended } = run(database, 'load');
  const of = (name: string): Told[] => told.filter((one) => one.event === name);
  await event('loaded');
  expect((await store.list({ limit: 1000 })).locks).toHaveLength(50);

  const stoppedAt = performance.now();
  child.kill('SIGTERM');
  // Nest ends the process with the signal that began the shutdown. After an unhandled
  // rejection, the exit code or the errors would differ.
  expect(await ended).toEqual({ code: null, signal: 'SIGTERM', errors: [] });
  expect(performance.now() - stoppedAt).toBeLessThan(LIMIT);

  expect(of('acquired')).toEqual([]);
  expect(of('refused').map(({ error }) => error)).toEqual(
    Array.from({ length: 500 }, () => 'LockError: The application is shutting down: it takes no more locks.'),
  );
  // 45 of the 50 jobs finish while they hold their locks.
  expect(of('worked').filter(({ held }) => held)).toHaveLength(45);
  expect(of('done')).toHaveLength(45);
  expect(of('failed').map(({ error }) => error)).toEqual(Array.from({ length: 5 }, () => 'LockLostError'));
  const freed = new Set([...of('released'), ...of('lost')].map(({ key }) => key));
  expect(freed.size).toBe(50);
  const closed = told.findIndex((one) => one.event === 'connections close');
  expect(closed).toBeGreaterThan(told.findLastIndex((one) => one.event === 'released'));

  expect((await store.list({ limit: 1000 })).locks).toEqual([]);
  const next = run(database, 'take');
  expect(await next.ended).toEqual({ code: 0, signal: null, errors: [] });
  expect(next.told).toEqual([{ event: 'taken', locks: 50 }]);
}

describe('SIGTERM while 50 jobs hold locks and 500 wait', () => {
  for (const target of targetsAmong('sqlite', 'postgres'))
    describe(`on ${target.name}`, () => {
      let fixture: Fixture;
      beforeAll(async () => (fixture = await Fixture.open(target)));
      afterAll(() => fixture.dispose());

      it('B12 a shutdown under load releases all locks before the connections close', async () => {
        const store = await fixture.store();
        await stopUnderLoad({ kind: 'sql', options: fixture.target.options }, store);
      }, 120_000);
    });

  describe('on MongoDB', () => {
    if (!mongodbIsSelected()) return;
    const fixture = new MongoFixture();
    afterAll(() => fixture.dispose());

    it('B12 a shutdown under load releases all locks before the connections close', async () => {
      const store = await fixture.store();
      const { url, databaseName } = fixture;
      await stopUnderLoad({ kind: 'mongodb', options: { url, databaseName } }, store);
    }, 120_000);
  });
});
