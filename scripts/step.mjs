import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Runs one step of a script and prints how long it took. If the step fails, prints the hint
 * and ends the script with the exit code of the step.
 */
export async function step(name, command, args, hint = '') {
  console.log(`> ${name}`);
  const begin = Date.now();
  const child = spawn(command, args, { stdio: 'inherit' });
  // A terminal sends Ctrl-C to the child too. A SIGTERM reaches only this process, which
  // passes it on to the child.
  const handOn = (signal) => child.kill(signal);
  process.once('SIGTERM', handOn).on('SIGINT', ignore);
  const [code, signal] = await once(child, 'exit');
  process.off('SIGTERM', handOn).off('SIGINT', ignore);

  const outcome = code === 0 ? 'done' : `failed with ${signal ?? `exit code ${code}`}`;
  console.log(`< ${name}: ${outcome} after ${((Date.now() - begin) / 1000).toFixed(1)} s`);
  if (code === 0) return;
  if (hint) console.error(hint);
  process.exit(code ?? 1);
}

function ignore() {}
