import { expect, it } from '@jest/globals';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('suspended.mjs', import.meta.url));
/** Milliseconds for which the process is stopped: longer than the ttl of its lock. */
const STOPPED = 1_100;

it.each([
  ['stopped', 'a process that was stopped', true],
  ['paused', 'a process whose monotonic clock stood still', false],
])(
  'R12 %s: %s for longer than the ttl finds lock.held to be false, before any timer runs',
  async (how, _, lost) => {
    const child = fork(program, [how], { execArgv: [] });
    try {
      await once(child, 'message');
      child.kill('SIGSTOP');
      await sleep(STOPPED);
      child.kill('SIGCONT');
      const [told] = await once(child, 'message');
      expect(told).toEqual({ before: true, held: false, thrown: 'LockLostError', lost });
    } finally {
      child.kill('SIGKILL');
    }
  },
);
