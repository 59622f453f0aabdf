import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Runs one step of a script, tells how long it took, and ends the script with the step's exit code when it fails. */
export async function step(name, command, args) {
  console.log(`> ${name}`);
  const begin = Date.now();
  const child = spawn(command, args, { stdio: 'inherit' });
  // Ctrl-C reaches the child by itself; a signal that was sent to this process alone is handed on.
  const handOn = (signal) => child.kill(signal);
  process.once('SIGTERM', handOn).on('SIGINT', ignore);
  const [code, signal] = await once(child, 'exit');
  process.off('SIGTERM', handOn).off('SIGINT', ignore);

  const outcome = code === 0 ? 'done' : `failed with ${signal ?? `exit code ${code}`}`;
  console.log(`< ${name}: ${outcome} after ${((Date.now() - begin) / 1000).toFixed(1)} s`);
  if (code !== 0) process.exit(code ?? 1);
}

function ignore() {}
