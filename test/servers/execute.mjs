import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Runs a command to its end. If the command fails, it throws an error with the last lines of
 * the command's output.
 */
export async function execute(command, options = {}) {
  const child = spawn(command[0], command.slice(1), { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  child.stderr.on('data', (data) => (output += data));
  const [code, signal] = await once(child, 'close');
  if (code === 0) return;
  const [program] = command;
  throw new Error(
    `${program} ... ${command.at(-1)} ended with ${signal ?? `exit code ${code}`}\n${lastLines(output)}`,
  );
}

export function lastLines(text) {
  return text.trim().split('\n').slice(-5).join('\n');
}
