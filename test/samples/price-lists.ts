import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { fromTypeOrm, SqlLockStore } from '../../lib/stores/sql/index.js';
import type { Target } from '../servers/targets.js';
import { HeldRequests } from './held-requests.js';
import { compileSample, SampleProcess } from './sample-process.js';

/** The tests wait until this many consecutive seconds have a report. */
const TICKS_IN_A_ROW = 5;

interface Report {
  second: Date;
  instance: string;
}

/**
 * Declares the tests of samples 05 and 06, which are one application with two database
 * clients.
 */
export function keepsPriceLists(
  sample: string,
  { open, migrate }: { open: () => Promise<Target>; migrate: (db: DataSource, url: string) => Promise<void> },
): void {
  const suppliers = new HeldRequests();
  const instances = new Map<string, SampleProcess>();
  const addresses = new Map<string, string>();
  let url: string;
  let target: Target;
  let reader: DataSource;
  /**
   * The tests use this store to take locks away from their holders, as `npx nestjs-locked
   * release` does.
   */
  let locks: SqlLockStore;

  async function start(name: string): Promise<void> {
    const instance = new SampleProcess(sample, {
      INSTANCE: name,
      PORT: '0',
      DATABASE_URL: url,
      SUPPLIERS_URL: suppliers.url,
    });
    instances.set(name, instance);
    const [, address] = await instance.says(/^Listening on (.*)/);
    addresses.set(name, address!);
  }

  async function importAt(name: string): Promise<{ status: number; body: unknown }> {
    const answer = await fetch(`${addresses.get(name)}/suppliers/acme/import`, { method: 'POST' });
    return { status: answer.status, body: await answer.json() };
  }

  const reports = (): Promise<Report[]> => reader.query('SELECT second, instance FROM reports ORDER BY id');
  const prices = async (): Promise<unknown> => {
    const answer = await fetch(`${addresses.get('first')}/suppliers/acme/prices`);
    return answer.json();
  };

  async function waitForTicks(from = 0): Promise<void> {
    while (longestRow((await reports()).slice(from)) < TICKS_IN_A_ROW) await sleep(100);
  }

  beforeAll(async () => {
    compileSample(sample);
    await suppliers.listen();
    target = await open();
    const { host, port, username, password, database } = target.options as unknown as Record<string, string>;
    const scheme = target.name === 'postgres' ? 'postgres' : 'mysql';
    url = `${scheme}://${username}:${encodeURIComponent(password ?? '')}@${host}:${port}/${database}`;
    reader = await new DataSource({ ...target.options, timezone: 'Z' } as never).initialize();
    await migrate(reader, url);
    locks = new SqlLockStore(fromTypeOrm(reader));
    await Promise.all(['first', 'second', 'third'].map(start));
  }, 120_000);

  afterAll(async () => {
    for (const instance of instances.values()) await instance.end('SIGKILL');
    suppliers.close();
    await locks?.close();
    await reader?.destroy();
    await target?.dispose();
  });

  it('B81 one of three instances writes the report of each second', async () => {
    await waitForTicks();
    expectEachSecondOnce(await reports());
  });

  it('B91 an import whose lock was taken over writes nothing', async () => {
    const late = importAt('first');
    const lateList = await suppliers.next();
    expect(await locks.forceRelease('import:acme')).toBe(true);
    const next = importAt('second');
    (await suppliers.next()).answer({ apple: 120, pear: 80 });
    expect(await next).toEqual({ status: 201, body: { apple: 120, pear: 80 } });

    lateList.answer({ apple: 1 });
    expect(await late).toMatchObject({
      status: 409,
      body: { message: 'Another import took over. Nothing was written.' },
    });
    expect(await prices()).toEqual({ apple: 120, pear: 80 });
  });

  it('B28 another instance takes over when an importing instance is killed, and reports go on', async () => {
    const killed = importAt('third');
    await suppliers.next();
    const before = (await reports()).length;
    await Promise.all([expect(killed).rejects.toThrow(), instances.get('third')!.end('SIGKILL')]);
    instances.delete('third');
    const next = importAt('first');
    (await suppliers.next()).answer({ plum: 300 });

    expect(await next).toEqual({ status: 201, body: { plum: 300 } });
    await waitForTicks(before);
  });

  it('B12 after SIGTERM no lock is left, and each second has at most one report', async () => {
    await Promise.all([...instances.values()].map((instance) => instance.end('SIGTERM')));
    expect(await reader.query('SELECT label FROM locks WHERE expires_ms > 0')).toEqual([]);
    expectEachSecondOnce(await reports());
  });
}

/** The largest number of consecutive seconds that all have a report. */
function longestRow(reports: readonly Report[]): number {
  const seconds = new Set(reports.map(({ second }) => second.getTime()));
  let longest = 0;
  for (const first of seconds) {
    let length = 1;
    while (seconds.has(first + length * 1_000)) length++;
    longest = Math.max(longest, length);
  }
  return longest;
}

function expectEachSecondOnce(reports: readonly Report[]): void {
  const seconds = reports.map(({ second }) => second.getTime());
  expect(seconds).toEqual([...new Set(seconds)].toSorted((a, b) => a - b));
}
