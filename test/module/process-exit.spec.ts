import { afterEach, describe, expect, it } from '@jest/globals';
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('process-exit.child.mjs', import.meta.url));
const children = new Set<ChildProcessWithoutNullStreams>();

afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
});

/** Runs an application on the built package (`npm run build`) in a process of its own. */
function run(task: string) {
  const child = spawn(process.execPath, [program, task]);
  children.add(child);
  const output: string[] = [];
  const errors: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => errors.push(line));
  const lines = createInterface({ input: child.stdout }).on('line', (line) => output.push(line));
  return {
    child,
    lines,
    ended: once(child, 'close').then(([code, signal]: unknown[]) => ({ code, signal, output, errors })),
  };
}

describe('the process of an application', () => {
  it('B12 after app.close(), waiters get an error, and the process exits because no timer keeps it alive', async () => {
    expect(await run('close').ended).toEqual({
      code: 0,
      signal: null,
      output: ['The application is shutting down: it takes no more locks.', 'exit'],
      errors: [],
    });
  });

  it('B12 held locks do not keep the process alive', async () => {
    expect(await run('hold').ended).toEqual({ code: 0, signal: null, output: ['exit'], errors: [] });
  });

  it('B12 after SIGTERM, the process finishes its running job', async () => {
    const { child, lines, ended } = run('stop on SIGTERM');
    await once(lines, 'line');
    child.kill('SIGTERM');
    await once(lines, 'line');
    child.stdin.end('end\n');
    expect(await ended).toEqual({
      code: null,
      signal: 'SIGTERM',
      output: ['job runs', 'told to stop', 'job ended', 'released Jobs.run'],
      errors: [],
    });
  });
});
