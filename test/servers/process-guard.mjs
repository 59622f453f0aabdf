// Owns one server and its temporary folder for as long as the test runner lives: `node process-guard.mjs FOLDER`.
// The pipe on stdin closes whatever ends the runner (the teardown, Ctrl-C, even SIGKILL); the guard then stops the
// server and removes the folder. It sits in a session of its own, so that Ctrl-C reaches the runner alone.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const folder = process.argv[2];
let server;
let stopSignal;

for await (const line of createInterface({ input: process.stdin })) {
  const { command, env, user, ...order } = JSON.parse(line);
  const log = openSync(join(folder, 'server.log'), 'a');
  stopSignal = order.stopSignal;
  server = spawn(command[0], command.slice(1), { cwd: folder, env, ...user, stdio: ['ignore', log, log] });
  server.on('error', (error) => tell({ ended: error.message }));
  server.on('exit', (code, signal) => tell({ ended: signal ?? `exit code ${code}` }));
  tell({ pid: server.pid });
}

if (server?.pid && server.exitCode === null && server.signalCode === null) {
  const gone = once(server, 'exit');
  server.kill(stopSignal);
  // A server that a test froze with SIGSTOP hears nothing but SIGKILL.
  const impatience = setTimeout(() => server.kill('SIGKILL'), 3000);
  await gone;
  clearTimeout(impatience);
}
rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });

function tell(news) {
  // Nobody listens any more when the runner was killed.
  process.stdout.on('error', () => {}).write(`${JSON.stringify(news)}\n`);
}
