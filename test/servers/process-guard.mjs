// Owns one server and its temporary folder while the test runner lives: `node
// process-guard.mjs FOLDER`. The pipe on stdin closes whenever the runner ends, even by Ctrl-C
// or SIGKILL. The guard then ends the server and removes the folder. It has a session of its
// own, so that Ctrl-C reaches only the runner.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const folder = process.argv[2];
process.chdir(folder);
// After the runner was killed, writing a report to it is an error, which must not end the
// guard.
process.stdout.on('error', () => {});
const log = openSync('server.log', 'a');
let child;
let stopSignal;

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  const stdin = openSync(order.stdin, 'r');
  stopSignal = order.stopSignal;
  // The command gets a process group of its own, so that the guard can end a script together
  // with the script's children.
  child = spawn(order.command[0], order.command.slice(1), {
    ...order.user,
    env: order.env,
    stdio: [stdin, log, log],
    detached: true,
  });
  child.on('error', (error) => tell({ ended: error.message }));
  child.on('exit', (code, signal) => tell({ ended: signal ?? `exit code ${code}` }));
  tell({ pid: child.pid });
}

if (child?.pid && child.exitCode === null && child.signalCode === null) {
  const gone = once(child, 'exit');
  process.kill(-child.pid, stopSignal);
  // A server that a test froze with SIGSTOP ignores its stop signal and ends only by SIGKILL.
  const impatience = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), 3000);
  await gone;
  clearTimeout(impatience);
}
for (let left = strays(); left.length > 0; left = strays()) {
  for (const pid of left) end(pid);
  await sleep(20);
}
rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });

/**
 * Finds processes that left the process group, as Wine's servers do, by their environment: it
 * still contains the temporary folder.
 */
function strays() {
  if (process.platform !== 'linux') return [];
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return processes.filter((pid) => environment(pid).split('\0').includes(`TMPDIR=${folder}`));
}

function environment(pid) {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch (error) {
    // The process has ended, or belongs to another user.
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(error.code)) return '';
    throw error;
  }
}

function end(pid) {
  try {
    process.kill(Number(pid), 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

function tell(news) {
  process.stdout.write(`${JSON.stringify(news)}\n`);
}
