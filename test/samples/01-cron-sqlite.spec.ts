import { execFileSync, fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { countRuns, type RunRow } from '../../scripts/demo/count-runs.mjs';

const sample = 'sample/01-cron-sqlite';

describe(sample, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sample-01-'));
  const database = join(folder, 'reports.sqlite');
  const children: ChildProcess[] = [];
  let skips = 0;
  let reader: DataSource;

  async function start(name: string): Promise<ChildProcess> {
    const child = fork(join(sample, 'dist/main.js'), {
      env: { ...process.env, INSTANCE: name, DATABASE_FILE: database },
      execArgv: [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    children.push(child);
    child.on('message', ({ event }: { event: string }) => (skips += event === 'skipped' ? 1 : 0));
    await once(child, 'message'); // The instance is ready.
    return child;
  }

  const runs = (): Promise<RunRow[]> => reader.query('SELECT * FROM run ORDER BY token');

  async function runsWhen(condition: (log: RunRow[]) => boolean): Promise<RunRow[]> {
    for (;;) {
      const log = await runs();
      if (condition(log)) return log;
      await sleep(50);
    }
  }

  beforeAll(async () => {
    execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', sample]);
    await start('first');
    await start('second');
    reader = await new DataSource({ type: 'better-sqlite3', database, readonly: true }).initialize();
  }, 120_000);

  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await reader?.destroy();
    rmSync(folder, { recursive: true, force: true });
  });

  it('B81 one instance publishes an edition each second, while the other skips', async () => {
    skips = 0;
    const before = (await runs()).length;
    const log = await runsWhen((seen) => seen.filter((run) => run.accepted).length >= before + 4);
    expect(countRuns(log)).toMatchObject({ doubles: 0, takeOvers: 0, lost: 0 });
    expect(skips).toBeGreaterThanOrEqual(3);
  });

  it('B12 an instance that is stopped finishes its run and leaves the lock free', async () => {
    await runsWhen((log) => log.at(-1)?.ended === null);
    await Promise.all(children.map((child) => (child.kill('SIGTERM'), once(child, 'exit'))));
    const log = await runs();
    expect(log.filter((run) => !run.accepted)).toEqual([]);
    expect(await reader.query('SELECT edition FROM report')).toEqual([{ edition: log.length }]);
    expect(await reader.query('SELECT key FROM locks WHERE expires_ms > 0')).toEqual([]);
  });
});
