import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Runs a command to its end; throws with its last words when it fails. */
export async function execute(command, { input = '', ...options } = {}) {
  const child = spawn(command[0], command.slice(1), options);
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  child.stderr.on('data', (data) => (output += data));
  child.stdin.on('error', () => {}); // it ended before it read everything: its exit code and last words say why
  child.stdin.end(input);
  const [code, signal] = await once(child, 'close');
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${signal ?? code}\n${lastLines(output)}`);
}

export function lastLines(text) {
  return text.trim().split('\n').slice(-5).join('\n');
}
