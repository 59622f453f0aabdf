import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { firstExample, writeApplication } from './files.mjs';

const NAMES = ['api-1', 'api-2', 'api-3'];
/** Matches the log lines of the job and of the locks, without those of Nest's own start. */
const SHOWN = /\[(InvoicesJob|LockModule)\]|WARN|ERROR/;

/**
 * Runs the first example of the README in three processes on the database at `url`. Without
 * `locked`, the decorator is left out. The run ends when `until` returns true for the lines
 * that were shown so far.
 *
 * @typedef {{ name: string, line: string }} Line the name of the process, and what it logged
 * @param {{ url: string, locked: boolean, until: (lines: Line[]) => boolean }} options
 * @returns {Promise<Line[]>}
 */
export async function runThreeInstances({ url, locked, until }) {
  const code = locked ? firstExample() : firstExample().replace(/^ *@Locked\(\).*\n/m, '');
  const application = writeApplication(`.cache/readme-${process.pid}`, code);
  const lines = [];
  const children = NAMES.map((name) => {
    const env = { ...process.env, DATABASE_URL: url, NO_COLOR: '1' };
    return {
      name,
      child: spawn(process.execPath, [application.main], { env, stdio: ['ignore', 'pipe', 'pipe'] }),
    };
  });
  try {
    await new Promise((resolve, reject) => {
      for (const { name, child } of children) {
        child.once('exit', (code) => reject(new Error(`${name} ended by itself with exit code ${code}.`)));
        for (const stream of [child.stdout, child.stderr])
          createInterface(stream).on('line', (line) => {
            if (!SHOWN.test(line)) return;
            lines.push({ name, line });
            if (until(lines)) resolve();
          });
      }
    });
    return lines;
  } finally {
    await Promise.all(children.map(({ child }) => end(child)));
    application.remove();
  }
}

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}

/** Groups the runs of the job by the time in their log lines. */
export function runsByTick(lines) {
  const runs = new Map();
  for (const { name, line } of lines) {
    const time = /\d+:\d\d:\d\d/.exec(line)?.[0];
    if (line.includes('[InvoicesJob]')) runs.set(time, [...(runs.get(time) ?? []), name]);
  }
  return runs;
}
