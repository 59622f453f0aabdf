import type { Command } from 'commander';
import type { LockInspection } from '../../interfaces/lock-record.interface.js';
import { withLocks, type ConnectionOptions } from '../connection.options.js';
import { spanText, timeText } from '../lock-text.js';
import { printJson, printLine } from '../output.js';
import { printable } from '../text-table.js';

const TITLE = 12;

export function addInspect(program: Command): void {
  program
    .command('inspect')
    .description('print the holder of a key, when its lease ends, and how the last run under the key ended')
    .argument('<key>')
    .action(async (key: string, _, command: Command) => {
      const options = command.optsWithGlobals<ConnectionOptions>();
      const found = await withLocks(options, (locks) => locks.admin.inspect(key));
      if (options.json) printJson(found);
      else for (const [title, value] of describe(found)) printLine(title.padEnd(TITLE) + value);
    });
}

function describe(found: LockInspection): [string, string][] {
  const lines: [string, string][] = [
    ['key', printable(found.key)],
    ['state', found.paused ? `${found.state}, paused: no call gets it until it is resumed` : found.state],
  ];
  if (found.state !== 'free') {
    const { label, startedAt, renewedAt, expiresAt, remaining, fencingToken } = found.holder;
    lines.push(
      ['label', printable(label ?? '-')],
      ['since', timeText(startedAt)],
      ['renewed', timeText(renewedAt)],
      ['until', expiresAt ? `${timeText(expiresAt)}, ${spanText(remaining)} left` : 'never'],
      ['token', String(fencingToken)],
    );
  }
  if (found.lastRun) {
    const { label, startedAt, endedAt, outcome } = found.lastRun;
    const took = spanText(endedAt.getTime() - startedAt.getTime());
    lines.push(['last run', `${outcome}, by ${printable(label ?? '-')}, ${timeText(startedAt)} for ${took}`]);
  }
  if (found.lastTick) lines.push(['last tick', timeText(found.lastTick)]);
  return lines;
}
